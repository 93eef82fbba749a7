"""The files of an exported model (its archive), as the export writes them and a worker reads them."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lseg_serve.labelsets import Label, label_of, word_count
from lseg_serve.model import Checkpoint, read_checkpoint
from lseg_serve.model.unwrapping import LANDMARK
from lseg_serve.model.words import shortened
from lseg_serve.segmenter.errors import ArchiveError

MANIFEST_FILE = "lseg.json"
WEIGHTS_FILE = "weights.safetensors"
LABELS_FILE = "labels.safetensors"
CONFIG_FILE = "model-config.yaml"
ARCHIVE_FORMAT = 1
_CHUNK = 8 << 20  # bytes copied at a time
_UNIT = 1e-3  # how far the length of an embedding may lie from 1
_READING_ERRORS = (OSError, ValueError, RecursionError, SafetensorError)  # CheckpointError is a ValueError


def unpack(path: Path, folder: Path) -> Path:
    """Unpack a .mar or .tar.gz into `folder`, and return the model directory that TorchServe would give a worker.

    Raises:
        ArchiveError: the file is damaged, or is not an LSeg archive.
    """
    try:
        if path.suffix == ".mar":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)  # zipfile itself keeps every entry inside the folder
        else:
            _unpack_tar(path, folder)
        return next(folder.rglob(MANIFEST_FILE)).parent
    except (OSError, EOFError, StopIteration, ValueError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        reason = str(error) or "it has no " + MANIFEST_FILE
        raise ArchiveError(f"{path}: not a complete LSeg archive ({reason})") from error


def _unpack_tar(path: Path, folder: Path) -> None:
    """Unpack the plain files of a .tar.gz into `folder`; an archive that holds anything else is refused.

    The standard library's filters would do this, but they are missing before Python 3.10.12 and 3.11.4.

    Raises:
        ValueError: an entry is neither a plain file nor a folder, or would lie outside `folder`.
    """
    root = folder.resolve()
    with tarfile.open(path, "r:gz") as archive:
        for entry in archive:
            target = (root / entry.name).resolve()
            if not (entry.isfile() or entry.isdir()) or root not in (target, *target.parents):
                raise ValueError(f"its entry {entry.name!r} is no plain file inside the archive")
            if entry.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(entry)
            assert content is not None  # it never is for a plain file
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file, _CHUNK)


@dataclass(frozen=True)
class Archive:
    """An unpacked archive: its manifest, its weights and its label set. The weights are mapped from their file."""

    folder: Path
    manifest: dict[str, Any]
    weights: Checkpoint
    labels: tuple[Label, ...]
    label_embeddings: Tensor  # float32 [W, E], unit length, of all words of the labels

    @classmethod
    def read(cls, folder: Path) -> Archive:
        """Read the archive that was unpacked into `folder`.

        Raises:
            ArchiveError: a file is missing or unreadable, or the archive is of another format.
        """
        try:
            manifest = _read_manifest(folder / MANIFEST_FILE)
            weights = read_checkpoint(folder / WEIGHTS_FILE)
            labels = tuple(map(label_of, manifest["label_set"]["labels"]))
            shape = [word_count(labels), *weights.tensors[LANDMARK].shape[:1]]
            return cls(folder, manifest, weights, labels, _read_embeddings(folder / LABELS_FILE, shape))
        except _READING_ERRORS as error:
            raise ArchiveError(f"{folder}: not a complete LSeg archive ({error})") from error


def _check_label(label: Any) -> Any:
    """Pass a text or a group of texts.

    Raises:
        ValueError: it is neither, or holds half a character.
    """
    label_of(label)
    json.dumps(label, ensure_ascii=False).encode()
    return label


class _LabelSet(BaseModel):
    labels: Annotated[list[Annotated[Any, AfterValidator(_check_label)]], Field(min_length=1)]


class _Manifest(BaseModel):
    """What a worker needs of lseg.json; the rest is for people."""

    model_config = ConfigDict(strict=True)

    precision: Literal["float32", "bfloat16", "int8"]
    checkpoint: dict[str, Any] = {}
    label_set: _LabelSet


def _read_manifest(path: Path) -> dict[str, Any]:
    """The document in lseg.json.

    Raises:
        OSError: it is not there.
        ValueError: no JSON, another format, or a value that is missing or odd.
        RecursionError: no JSON that this file would have.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{path.name} holds a {type(document).__name__}; accepted: keys and values")
    if type(document.get("format")) is not int or document["format"] != ARCHIVE_FORMAT:
        raise ValueError(f"archive format {shortened(document.get('format'))}; this version reads {ARCHIVE_FORMAT}")
    try:
        _Manifest.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in found["loc"])
        raise ValueError(f"{path.name}: {place} is {shortened(found['input'])}: {found['msg']}") from None
    return document


def _read_embeddings(path: Path, shape: list[int]) -> Tensor:
    """The embeddings of the label set: float32 of the `shape` [K, E].

    Raises:
        OSError, SafetensorError: it is not there or damaged.
        ValueError: there are others than one finite vector of unit length for each label.
    """
    embeddings = load_file(path).get("embeddings")
    if embeddings is None:
        raise ValueError(f"{path.name} has no embeddings")
    if embeddings.dtype != torch.float32 or list(embeddings.shape) != shape:
        raise ValueError(
            f"{path.name}: embeddings are {embeddings.dtype} {list(embeddings.shape)}; accepted: torch.float32 "
            f"{shape}, a row for each label"
        )
    if not bool(((embeddings.norm(dim=1) - 1).abs() < _UNIT).all()):
        raise ValueError(f"{path.name}: embeddings have another length than 1")
    return embeddings
