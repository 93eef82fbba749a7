"""The files of an archive, before they are packed: weights, label embeddings, descriptions, configuration and code."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from lseg_serve.export.manifest import HANDLER_FILE, lseg_manifest, torchserve_manifest
from lseg_serve.export.plan import Plan
from lseg_serve.model import LSeg
from lseg_serve.model.weights import save_weights
from lseg_serve.segmenter import CONFIG_FILE, LABELS_FILE, MANIFEST_FILE, WEIGHTS_FILE

_PROJECT = Path(__file__).parent.parent  # the package lseg_serve: the folders of the project under one name
_PACKAGES = ("handler", "segmenter", "model", "labelsets", "embeddings")  # what runs in a worker
_CODE = (".py", ".txt")  # Gaudi's bridge reads lists of operators from text files


def write_contents(folder: Path, plan: Plan, net: LSeg, precision: str, embeddings: Tensor) -> int:
    """Write all files of an archive into the new `folder`.

    Args:
        folder: is made.
        plan: of the export.
        net: the network as it will be served.
        precision: what its image side is in.
        embeddings: of the words of the plan's labels, float32 [W, E].

    Returns:
        The number of parameters.
    """
    folder.mkdir()
    parameters = save_weights(net, net.architecture, folder / WEIGHTS_FILE)
    save_file({"embeddings": embeddings}, folder / LABELS_FILE)
    manifest = lseg_manifest(
        name=plan.name,
        version=plan.version,
        checkpoint=plan.checkpoint.path,
        checkpoint_sha256=_sha256(plan.checkpoint.path),
        architecture=net.architecture,
        precision=precision,
        parameters=parameters,
        weights_bytes=(folder / WEIGHTS_FILE).stat().st_size,
        label_set=plan.label_set,
    )
    _write_text(folder / MANIFEST_FILE, manifest)
    _write_text(folder / "MAR-INF" / "MANIFEST.json", torchserve_manifest(plan.name, plan.version))
    shutil.copyfile(plan.config_file, folder / CONFIG_FILE)
    _copy_code(folder)
    return parameters


def _copy_code(folder: Path) -> None:
    """The code that runs in a worker: packages as they are, and the file that TorchServe imports by its name."""
    code = folder / _PROJECT.name
    _write_text(code / "__init__.py", (_PROJECT / "__init__.py").read_text(encoding="utf-8"))
    for package in _PACKAGES:
        for source in sorted(path for path in (_PROJECT / package).rglob("*") if path.suffix in _CODE):
            if source.name == "__main__.py":  # a command of whoever operates the server, not of a worker
                continue
            _write_text(code / source.relative_to(_PROJECT), source.read_text(encoding="utf-8"))
    shutil.copyfile(_PROJECT / "handler" / HANDLER_FILE, folder / HANDLER_FILE)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _sha256(path: Path) -> str:
    with (
        path.open("rb") as file,
        tqdm.wrapattr(file, "read", total=path.stat().st_size, desc="hashing", leave=False, disable=None) as wrapped,
    ):
        digest = hashlib.sha256()
        while chunk := wrapped.read(8 << 20):
            digest.update(chunk)
    return digest.hexdigest()
