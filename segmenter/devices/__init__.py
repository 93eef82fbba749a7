"""The devices that the network can run on: one small interface, and one file for each kind of device."""

from __future__ import annotations

import logging

from lseg_serve.segmenter.config import Config
from lseg_serve.segmenter.devices.base import Device, DeviceMemory, GraphCounts
from lseg_serve.segmenter.devices.cpu import CpuDevice
from lseg_serve.segmenter.devices.cuda import CudaDevice
from lseg_serve.segmenter.devices.hpu import HpuDevice
from lseg_serve.segmenter.errors import DeviceAbsentError, DeviceError

__all__ = [
    "CpuDevice",
    "CudaDevice",
    "Device",
    "DeviceMemory",
    "GraphCounts",
    "HpuDevice",
    "choose_device",
    "kind_at_hand",
]

logger = logging.getLogger(__name__)

# In the order that `auto` prefers them.
_KINDS: dict[str, type[Device]] = {"hpu": HpuDevice, "cuda": CudaDevice, "cpu": CpuDevice}


def choose_device(config: Config, index: int | None = None) -> Device:
    """The device that the configuration names. `auto` stands for the first of hpu, cuda and cpu that is there.

    A device that is there but cannot be used is an error, even with `auto`. A worker that silently ran on the CPU would
    be a hundred times slower than the other workers. With `fall_back` it may run on the CPU, and then the log and
    every response say so.

    Args:
        config: the worker's configuration.
        index: which of several GPUs TorchServe assigned to this worker; None if it assigned none.

    Raises:
        DeviceError: the device is not there, or cannot be used; the message says why.
    """
    kinds = tuple(_KINDS) if config.device == "auto" else (config.device,)
    for kind in kinds:
        try:
            return _make(kind, config, index)
        except DeviceAbsentError as error:
            absent = error
        except DeviceError as error:
            return _fallen_back(kind, config, error)
    return _fallen_back(config.device, config, absent)


def kind_at_hand(config: Config) -> str:
    """The kind of device that a worker would choose here. Unlike `choose_device`, this does not occupy the device."""
    if config.device != "auto":
        return config.device
    return next(kind for kind, device in _KINDS.items() if device.unavailable_reason() is None)


def _make(kind: str, config: Config, index: int | None) -> Device:
    missing = _KINDS[kind].unavailable_reason()
    if missing is not None:
        raise DeviceAbsentError(missing)
    if kind == "hpu":
        return HpuDevice(config)
    return CudaDevice(index) if kind == "cuda" else CpuDevice()


def _fallen_back(kind: str, config: Config, error: DeviceError) -> Device:
    """The CPU in place of a device of `kind`, or an error unless the configuration has `fall_back`."""
    if not config.fall_back:
        raise DeviceError(f"device is {config.device!r}, but {error}") from error
    logger.warning("device is %r, but %s; falling back to the CPU", config.device, error)
    device = CpuDevice()
    device.instead_of = kind
    return device
