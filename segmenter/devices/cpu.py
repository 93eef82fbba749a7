"""The processor of the machine, which is always there."""

from __future__ import annotations

import platform

import torch

from lseg_serve.model import int8
from lseg_serve.segmenter.devices.base import Device


class CpuDevice(Device):
    """The CPU.

    Images go through the network one at a time. A batch would not be faster here, would take more memory, and would
    round differently.
    """

    kind = "cpu"
    batch_sizes: tuple[int, ...] = (1,)
    prepares_each_shape = False

    def __init__(self, index: int | None = None) -> None:
        del index  # TorchServe numbers GPUs only
        super().__init__()

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """None: a CPU can always be used."""
        return None

    def int8_unavailable_reason(self) -> str | None:
        """Why int8 layers cannot run on this processor: older ones lack VNNI."""
        return int8.unavailable_reason()

    def describe(self) -> str:
        """The processor's architecture and the number of threads that torch uses."""
        return f"{self.name} ({platform.machine()}, {torch.get_num_threads()} threads)"
