"""The files of an exported model (its archive), as the export writes them and a worker reads them."""

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
    labels: tuple[str, ...]
    label_embeddings: Tensor  # float32 [K, E], unit length

    @classmethod
    def read(cls, folder: Path) -> Archive:
        """Read the archive that was unpacked into `folder`.

        Raises:
            ArchiveError: a file is missing or unreadable, or the archive is of another format.
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
