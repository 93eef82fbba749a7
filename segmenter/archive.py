"""The files of an exported model, as the export writes them and a worker finds them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model import Checkpoint, CheckpointError, read_checkpoint
from segmenter.errors import ArchiveError

MANIFEST_FILE = "lseg.json"
WEIGHTS_FILE = "weights.safetensors"
LABELS_FILE = "labels.safetensors"
CONFIG_FILE = "model-config.yaml"
FORMAT = 1


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
            if manifest["format"] != FORMAT:
                raise ArchiveError(f"{folder}: archive format {manifest['format']!r}; this version reads {FORMAT}")
            weights = read_checkpoint(folder / WEIGHTS_FILE)
            embeddings = load_file(folder / LABELS_FILE)["embeddings"]
            return cls(folder, manifest, weights, tuple(manifest["label_set"]["labels"]), embeddings)
        except (OSError, KeyError, TypeError, json.JSONDecodeError, SafetensorError, CheckpointError) as error:
            raise ArchiveError(f"{folder}: not a complete LSeg archive ({error})") from error
