"""The plan of an export: all that its options ask for, found and checked before anything is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lseg_serve.export.calibration import CalibrationImages
from lseg_serve.export.errors import ExportError
from lseg_serve.export.label_sets import LabelSet, load_label_set
from lseg_serve.export.packaging import SUFFIXES, ArchiveFormat
from lseg_serve.export.precision import AUTO, precisions_to_try
from lseg_serve.export.staging import check_replaceable
from lseg_serve.model import Checkpoint, CheckpointError, LSeg, read_checkpoint
from lseg_serve.segmenter import CONFIG_FILE, Config, ConfigError

DEFAULT_CONFIG = Path(__file__).parent.parent / "config" / CONFIG_FILE
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
    target: str = AUTO
    calibration: Path | None = None
    archive_format: ArchiveFormat = "default"
    config: Path = DEFAULT_CONFIG
    arch_option: int | None = None
    block_depth: int | None = None
    activation: str | None = None
    tensors: str | None = None
    ignore_extra: bool = False

    @property
    def archive(self) -> Path:
        """The archive's path."""
        return self.output / (self.name + SUFFIXES[self.archive_format])


@dataclass(frozen=True)
class Plan:
    """An export that can be done as far as reading tells."""

    name: str
    version: str
    archive: Path  # where it will lie
    archive_format: ArchiveFormat
    config_file: Path
    config: Config
    label_set: LabelSet
    checkpoint: Checkpoint
    arch_option: int | None
    block_depth: int | None
    activation: str | None
    precisions: tuple[str, ...]  # to try, in order; the last is taken untried
    calibration: CalibrationImages

    def network(self) -> LSeg:
        """A new network with the weights of the checkpoint, as they are.

        Raises:
            CheckpointError: the tensors are no LSeg network.
        """
        return LSeg.from_tensors(
            self.checkpoint,
            arch_option=self.arch_option,
            block_depth=self.block_depth,
            activation=self.activation,
        )


def make_plan(options: Options) -> Plan:
    """Read and check all that the options name.

    Raises:
        ExportError: one of them cannot be used; the message names it.
    """
    for name, value in (("name", options.name), ("version", options.version)):
        if not _NAME.fullmatch(value):
            raise ExportError(f"{name} is {value!r}; accepted: letters, digits, '_', '-' and '.', no '.' first")
    check_replaceable(options.archive, folder=options.archive_format == "no-archive")
    try:
        config = Config.from_file(options.config)
        plan = Plan(
            name=options.name,
            version=options.version,
            archive=options.archive,
            archive_format=options.archive_format,
            config_file=options.config,
            config=config,
            label_set=load_label_set(options.labels, config),
            precisions=precisions_to_try(options.precision, options.target, config),
            calibration=CalibrationImages.find(options.calibration),
            checkpoint=read_checkpoint(options.checkpoint, tensors=options.tensors, ignore_extra=options.ignore_extra),
            arch_option=options.arch_option,
            block_depth=options.block_depth,
            activation=options.activation,
        )
        plan.network()  # what is wrong with the checkpoint is told before anything is computed
    except (CheckpointError, ConfigError) as error:
        raise ExportError(str(error)) from error
    return plan
