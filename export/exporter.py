"""The export, step by step: read, prepare, write, pack, check, publish."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tqdm import tqdm

from lseg_serve.export.calibration import CalibrationImages
from lseg_serve.export.errors import ExportError, UnfitError
from lseg_serve.export.label_sets import LabelSet, load_label_set
from lseg_serve.export.manifest import HANDLER_FILE, lseg_manifest, torchserve_manifest
from lseg_serve.export.packaging import SUFFIXES, ArchiveFormat, pack
from lseg_serve.export.staging import check_replaceable, publish, staging_folder
from lseg_serve.export.verification import TOLERANCES, Difference, Probe, check_fitness, make_probe, verify
from lseg_serve.export.weights import prepare
from lseg_serve.model import Architecture, Checkpoint, CheckpointError, LSeg, int8, read_checkpoint
from lseg_serve.model.weights import save_weights
from lseg_serve.segmenter import (
    CONFIG_FILE,
    LABELS_FILE,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    Config,
    ConfigError,
    kind_at_hand,
)

logger = logging.getLogger(__name__)

PROJECT = Path(__file__).parent.parent  # the package lseg_serve: the folders of the project under one name
NAME = PROJECT.name
DEFAULT_CONFIG = PROJECT / "config" / CONFIG_FILE
AUTO = "auto"
PRECISIONS = (AUTO, *TOLERANCES)
_PACKAGES = ("handler", "segmenter", "model")
# What model_archiver and TorchServe accept as a name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.]*")


@dataclass(frozen=True)
class Options:
    """What an export is asked for; see `python -m export --help`."""

    checkpoint: Path
    output: Path = Path("model_store")
    name: str = "lseg"
    version: str = "1.0"
    labels: str = "ade20k"
    precision: str = AUTO
    calibration: Path | None = None
    archive_format: ArchiveFormat = "default"
    config: Path = DEFAULT_CONFIG
    arch_option: int | None = None
    block_depth: int | None = None
    activation: str | None = None

    @property
    def target(self) -> Path:
        """The archive's path."""
        return self.output / (self.name + SUFFIXES[self.archive_format])


@dataclass(frozen=True)
class Summary:
    """What an export did."""

    target: Path
    bytes: int
    architecture: Architecture
    parameters: int
    label_set: LabelSet
    precision: str
    difference: Difference


def export(options: Options) -> Summary:
    """Write the archive of a checkpoint, check it, and put it in its place.

    Raises:
        ExportError: it cannot be done or did not pass its check; `options.target` is as it was before.
    """
    for name, value in (("name", options.name), ("version", options.version)):
        if not _NAME.fullmatch(value):
            raise ExportError(f"{name} is {value!r}; accepted: letters, digits, '_', '-' and '.', no '.' first")
    check_replaceable(options.target, folder=options.archive_format == "no-archive")
    try:
        config = Config.from_file(options.config)
        label_set = load_label_set(options.labels, config)
        logger.info("[1/5] reading %s", options.checkpoint)
        checkpoint = read_checkpoint(options.checkpoint)
        _network(options, checkpoint)  # what is wrong with it comes before what is wrong with the disk
        _check_space(options, checkpoint)
        with staging_folder(options.output) as staging:
            return _export(options, config, checkpoint, label_set, staging)
    except (CheckpointError, ConfigError) as error:
        raise ExportError(str(error)) from error
    except (OSError, SafetensorError) as error:  # safetensors wraps what the system says
        raise ExportError(f"cannot write to {options.output}: {error}") from error


def _network(options: Options, checkpoint: Checkpoint) -> LSeg:
    return LSeg.from_tensors(
        checkpoint,
        arch_option=options.arch_option,
        block_depth=options.block_depth,
        activation=options.activation,
    )


def _export(
    options: Options,
    config: Config,
    checkpoint: Checkpoint,
    label_set: LabelSet,
    staging: Path,
) -> Summary:
    net = _network(options, checkpoint)
    logger.info("[2/5] encoding %d labels, and a test image with the checkpoint as it is", len(label_set.labels))
    with torch.no_grad():
        embeddings = net.encode_labels(label_set.labels)
    probe = make_probe(net, label_set.labels, CalibrationImages.find(options.calibration).test_image(config))
    net, precision = _prepared(options, config, checkpoint, probe)
    logger.info("[3/5] writing weights as %s", precision)
    folder = staging / "archive"
    folder.mkdir()
    parameters = save_weights(net, net.architecture, folder / WEIGHTS_FILE)
    save_file({"embeddings": embeddings}, folder / LABELS_FILE)
    manifest = lseg_manifest(
        name=options.name,
        version=options.version,
        checkpoint=checkpoint.path,
        checkpoint_sha256=_sha256(checkpoint.path),
        architecture=net.architecture,
        precision=precision,
        parameters=parameters,
        weights_bytes=(folder / WEIGHTS_FILE).stat().st_size,
        label_set=label_set,
    )
    _write_text(folder / MANIFEST_FILE, manifest)
    _write_text(folder / "MAR-INF" / "MANIFEST.json", torchserve_manifest(options.name, options.version))
    shutil.copyfile(options.config, folder / CONFIG_FILE)
    _copy_code(folder)
    logger.info("[4/5] packing %s", options.target)
    packed = staging / options.target.name
    pack(folder, packed, options.name, options.archive_format)
    shutil.rmtree(folder, ignore_errors=True)  # its place on the disk is needed for the check
    logger.info("[5/5] loading the archive as a worker would, and comparing with the checkpoint")
    difference = verify(packed, probe, precision, staging)
    size = sum(path.stat().st_size for path in [packed, *packed.rglob("*")] if path.is_file())
    publish(packed, options.target)
    return Summary(options.target, size, net.architecture, parameters, label_set, precision, difference)


def _prepared(options: Options, config: Config, checkpoint: Checkpoint, probe: Probe) -> tuple[LSeg, str]:
    """The network in the precision asked for, or in the fastest that is fit to serve here; and which it is."""
    *tried, otherwise = _candidates(config) if options.precision == AUTO else [options.precision]
    seconds: dict[str, float] = {}
    for precision in tried:
        net = _prepare(options, config, checkpoint, precision)
        try:
            seconds[precision] = check_fitness(net, probe, precision)
        except UnfitError as error:
            logger.info("%s is left: %s", precision, error)
    fastest = min(seconds, key=seconds.__getitem__, default=otherwise)
    if fastest not in tried[-1:]:
        net = _prepare(options, config, checkpoint, fastest)
    return net, fastest


def _prepare(options: Options, config: Config, checkpoint: Checkpoint, precision: str) -> LSeg:
    images = CalibrationImages.find(options.calibration)
    if precision == "int8":
        logger.info("int8 is calibrated with images: %s", images.source)
    return prepare(_network(options, checkpoint), getattr(torch, precision), images.at_buckets(config))


def _candidates(config: Config) -> list[str]:
    """The precisions to measure for the device at hand, the costliest to make last, and what is taken if none fits."""
    kind = kind_at_hand(config)
    if kind == "cpu":
        there = {"bfloat16": torch.cpu._is_avx512_bf16_supported(), "int8": int8.unavailable_reason() is None}
        return [*(precision for precision, supported in there.items() if supported), "float32"]
    # A Gaudi's worker lowers float32 itself, by `hpu.bfloat16`.
    return ["bfloat16" if kind == "cuda" else "float32"]


def _check_space(options: Options, checkpoint: Checkpoint) -> None:
    """Refuse at once what the disk cannot hold: the files, and beside them the archive or its unpacked copy."""
    options.output.mkdir(parents=True, exist_ok=True)
    copies = 1 if options.archive_format == "no-archive" else 2
    needed = copies * sum(tensor.nbytes for tensor in checkpoint.tensors.values())
    free = shutil.disk_usage(options.output).free
    if free < needed:
        raise ExportError(f"{options.output} has {free / 1e9:.1f} GB free; up to {needed / 1e9:.1f} GB are needed")


def _copy_code(folder: Path) -> None:
    """The code that runs in a worker: three packages as they are, and the file that TorchServe imports by its name."""
    code = folder / NAME
    _write_text(code / "__init__.py", (PROJECT / "__init__.py").read_text(encoding="utf-8"))
    for package in _PACKAGES:
        for source in sorted((PROJECT / package).rglob("*.py")):
            _write_text(code / source.relative_to(PROJECT), source.read_text(encoding="utf-8"))
    shutil.copyfile(PROJECT / "handler" / HANDLER_FILE, folder / HANDLER_FILE)


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
