"""Where the network runs: one small interface, one file for each kind of device."""

from __future__ import annotations

from segmenter.devices.base import Device
from segmenter.devices.cpu import CpuDevice
from segmenter.devices.cuda import CudaDevice
from segmenter.errors import DeviceError

__all__ = ["CpuDevice", "CudaDevice", "Device", "choose_device"]

# In the order that `auto` prefers them; Gaudi's file goes first.
_KINDS: dict[str, type[Device]] = {"cuda": CudaDevice, "cpu": CpuDevice}


def choose_device(name: str, index: int | None = None) -> Device:
    """The device that the configuration names; `auto` takes the first kind that is there.

    Args:
        name: `auto`, `hpu`, `cuda` or `cpu`.
        index: which one of several, where TorchServe assigned one to this worker.

    Raises:
        DeviceError: the device is not there; the message says what is missing.
    """
    if name == "auto":
        return next(kind(index) for kind in _KINDS.values() if kind.missing() is None)
    if name not in _KINDS:
        raise DeviceError(f"device is {name!r}, which this version cannot run on; accepted: auto, {', '.join(_KINDS)}")
    missing = _KINDS[name].missing()
    if missing is not None:
        raise DeviceError(f"device is {name!r}, but {missing}")
    return _KINDS[name](index)
