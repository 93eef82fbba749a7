"""The files of an exported model, as the export writes them and a worker finds them."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lseg_serve.model import Checkpoint, CheckpointError, read_checkpoint
from lseg_serve.segmenter.errors import ArchiveError

MANIFEST_FILE = "lseg.json"
WEIGHTS_FILE = "weights.safetensors"
LABELS_FILE = "labels.safetensors"
CONFIG_FILE = "model-config.yaml"
ARCHIVE_FORMAT = 1
_CHUNK = 8 << 20  # bytes copied at a time


def unpack(path: Path, folder: Path) -> Path:
    """Unpack a .mar or .tar.gz into `folder` as TorchServe does; returns the model directory a worker would get.

    Raises:
        ArchiveError: the file is damaged, or holds no LSeg archive.
    """
    try:
        if path.suffix == ".mar":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)  # which keeps every entry below the folder
        else:
            _unpack_tar(path, folder)
        return next(folder.rglob(MANIFEST_FILE)).parent
    except (OSError, EOFError, StopIteration, ValueError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        reason = str(error) or "it has no " + MANIFEST_FILE
        raise ArchiveError(f"{path}: not a complete LSeg archive ({reason})") from error


def _unpack_tar(path: Path, folder: Path) -> None:
    """Unpack the plain files of a .tar.gz, each below `folder`; whatever else it holds is refused.

    The filters of the standard library do as much, but came with Python 3.10.12 and 3.11.4 alone.

    Raises:
        ValueError: an entry that is no plain file or folder, or that would lie outside the folder.
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
            assert content is not None  # as it is for every plain file
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file, _CHUNK)


@dataclass(frozen=True)
class Archive:
    """An unpacked archive: its manifest, its weights (mapped from the file) and its label set."""

    folder: Path
    manifest: dict[str, Any]
    weights: Checkpoint
    labels: tuple[str, ...]
    label_embeddings: Tensor  # float32 [K, E], unit length

    @classmethod
    def read(cls, folder: Path) -> Archive:
        """Read the folder.

        Raises:
            ArchiveError: a file is missing, unreadable, or of another format.
        """
        try:
            manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
            if manifest["format"] != ARCHIVE_FORMAT:
                raise ArchiveError(
                    f"{folder}: archive format {manifest['format']!r}; this version reads {ARCHIVE_FORMAT}"
                )
            weights = read_checkpoint(folder / WEIGHTS_FILE)
            embeddings = load_file(folder / LABELS_FILE)["embeddings"]
            return cls(folder, manifest, weights, tuple(manifest["label_set"]["labels"]), embeddings)
        except (OSError, KeyError, TypeError, json.JSONDecodeError, SafetensorError, CheckpointError) as error:
            raise ArchiveError(f"{folder}: not a complete LSeg archive ({error})") from error
