"""Copies between the host and the card: counted with their bytes, and cutting the graph where Gaudi must."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from habana_frameworks.torch.simulated import numerics
from habana_frameworks.torch.simulated.counts import TOTALS
from habana_frameworks.torch.simulated.device import DEVICE
from habana_frameworks.torch.simulated.recorder import RECORDER
from habana_frameworks.torch.simulated.tensor import HpuTensor
from habana_frameworks.torch.utils.internal import is_lazy


def read_back(tensor: HpuTensor, reason: str) -> Tensor:
    """The tensor's content for the host, after everything that computes it; the host waits."""
    if RECORDER.pending(tensor):
        RECORDER.cut(reason)
    DEVICE.check()
    TOTALS.syncs += 1
    TOTALS.device_to_host += 1
    TOTALS.device_to_host_bytes += tensor.nbytes
    return tensor.host


def upload(target: HpuTensor, source: Tensor) -> None:
    """Overwrite a tensor of the card with one of the host.

    A tensor without dimensions stays pending, as on torch_xla, and becomes a part of the next graph.
    """
    if RECORDER.pending(target):
        RECORDER.cut("copy from the host")
    count_upload(source)
    target.host.copy_(numerics.as_stored(source))
    if is_lazy() and target.dim() == 0:
        RECORDER.record("constant", (str(source.dtype),), [], [], [target])


def count_upload(source: Tensor) -> None:
    """Count `source` as sent to the card."""
    TOTALS.host_to_device += 1
    TOTALS.host_to_device_bytes += source.nbytes


def to_copy(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """`aten._to_copy` to another device; None where it stays on the card and is an operator like others."""
    device = kwargs.get("device")
    if device is None or torch.device(device).type == "hpu":
        return None
    rest = {key: value for key, value in kwargs.items() if key != "device"}
    host: Tensor = torch.ops.aten._to_copy.default(read_back(args[0], "copy to the host"), **rest)
    return host


def copy_in_place(target: Tensor, source: Tensor) -> Tensor | None:
    """`aten.copy_` between host and card; None where both are on the card."""
    if isinstance(target, HpuTensor):
        if isinstance(source, HpuTensor):
            return None
        upload(target, source)
        return target
    assert isinstance(source, HpuTensor)
    return target.copy_(read_back(source, "copy to the host"))
