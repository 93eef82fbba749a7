"""The two descriptions in an archive: TorchServe's MANIFEST.json, and lseg.json with where the model came from."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from model_archiver.manifest_components.manifest import RuntimeType
from model_archiver.model_archiver_config import ModelArchiverConfig
from model_archiver.model_packaging_utils import ModelExportUtils

from lseg_serve.export.label_sets import LabelSet
from lseg_serve.labelsets import as_json
from lseg_serve.model import Architecture
from lseg_serve.model.architecture import preset_name
from lseg_serve.segmenter import ARCHIVE_FORMAT, CONFIG_FILE, WEIGHTS_FILE

HANDLER_FILE = "lseg_handler.py"
_PACKAGES = ("torch", "timm", "clip-anytorch", "safetensors", "torchserve", "torch-model-archiver")


def torchserve_manifest(name: str, version: str) -> str:
    """MANIFEST.json as torch-model-archiver writes it, but for its date: the same input must give the same bytes."""
    config = ModelArchiverConfig(
        model_name=name,
        version=version,
        handler=HANDLER_FILE,
        serialized_file=WEIGHTS_FILE,
        config_file=CONFIG_FILE,
        runtime=RuntimeType.PYTHON.value,
    )
    manifest = json.loads(ModelExportUtils.generate_manifest_json(config))
    manifest["createdOn"] = "01/01/1980 00:00:00"
    return json.dumps(manifest, indent=2)


def lseg_manifest(
    *,
    name: str,
    version: str,
    checkpoint: Path,
    checkpoint_sha256: str,
    architecture: Architecture,
    precision: str,
    parameters: int,
    weights_bytes: int,
    label_set: LabelSet,
) -> str:
    """lseg.json: what a worker needs to load the archive, and what a person wants to know of it."""
    document: dict[str, Any] = {
        "format": ARCHIVE_FORMAT,
        "name": name,
        "version": version,
        "checkpoint": {
            "file": checkpoint.name,
            "bytes": checkpoint.stat().st_size,
            "sha256": checkpoint_sha256,
        },
        "backbone": preset_name(architecture),
        "architecture": architecture.as_dict(),
        "precision": precision,
        "weights": {"parameters": parameters, "bytes": weights_bytes},
        "label_set": {"name": label_set.name, "labels": list(map(as_json, label_set.labels))},
        "versions": {package: metadata.version(package).partition("+")[0] for package in _PACKAGES},
    }
    return json.dumps(document, indent=1, ensure_ascii=False)
