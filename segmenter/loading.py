"""A network with what was exported beside it, read from an archive or from a checkpoint as it is."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lseg_serve.labelsets import Label
from lseg_serve.model import LSeg, read_checkpoint
from lseg_serve.segmenter.archive import CONFIG_FILE, Archive, unpack
from lseg_serve.segmenter.config import Config
from lseg_serve.segmenter.devices import Device, choose_device
from lseg_serve.segmenter.errors import DeviceError
from lseg_serve.segmenter.scratch import ScratchFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """What a file or folder holds. None stands for what it does not say."""

    net: LSeg
    config: Config | None
    device: Device | None
    label_set: tuple[Label, ...] = ()
    label_embeddings: Tensor | None = None  # [W, E], of the words of the label set
    manifest: dict[str, Any] = field(default_factory=dict)
    copy: ScratchFolder | None = None  # the unpacked files that the weights are mapped from

    def remove_copy(self) -> None:
        """Remove the unpacked files, if there are any. The network cannot be used any more."""
        if self.copy is not None:
            self.copy.remove()


def read_model(path: Path, config: Config | None, device: Device | None) -> LoadedModel:
    """Read an exported model (.mar, .tar.gz or its folder), or a checkpoint.

    A packed one is read from an unpacked copy, which lives until `remove_copy`: the weights stay mapped from its files.
    A process that a signal ends leaves its copy behind, and the next load removes it. A library must not take over the
    signals of the program that uses it.

    Raises:
        ArchiveError: no complete archive.
        CheckpointError: no checkpoint that LSeg can be built from.
        ConfigError: the archive's configuration is not accepted.
        DeviceError: the device it names is not there.
    """
    if path.name.endswith((".mar", ".tar.gz")):
        folder = ScratchFolder(Path(tempfile.gettempdir()), "lseg-")
        try:
            return replace(_read_folder(unpack(path, folder.path), config, device), copy=folder)
        except BaseException:
            folder.remove()
            raise
    if path.is_dir():
        return _read_folder(path, config, device)
    return LoadedModel(LSeg.from_tensors(read_checkpoint(path)), config, device)


def _read_folder(path: Path, config: Config | None, device: Device | None) -> LoadedModel:
    archive = Archive.read(path)
    config = config or Config.from_file(path / CONFIG_FILE)
    device = device or choose_device(config)
    return LoadedModel(
        _in_precision(LSeg.from_tensors(archive.weights, own_types=True), archive.manifest["precision"], device),
        config,
        device,
        tuple(archive.labels),
        archive.label_embeddings,
        archive.manifest,
    )


def _in_precision(net: LSeg, precision: str, device: Device) -> LSeg:
    """`net` in the archive's precision; where the device has no 8-bit kernels, int8 weights become its floats.

    Raises:
        DeviceError: the manifest names another precision than the weights have.
    """
    problem = device.int8_unavailable_reason() if precision == "int8" else None
    if problem is not None:
        floats = device.instead_of_int8
        logger.info("the archive is int8, but %s: its weights are used as %s", problem, floats)
        return net.dequantize().set_precision(floats)
    try:
        return net.set_precision(getattr(torch, precision))
    except ValueError as error:
        raise DeviceError(str(error)) from error
