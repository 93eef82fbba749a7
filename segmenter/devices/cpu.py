"""The processor of the machine: always there."""

from __future__ import annotations

import platform

import torch

from lseg_serve.model import int8
from lseg_serve.segmenter.devices.base import Device


class CpuDevice(Device):
    """The CPU. One image at a time: a batch is not faster here, takes more memory, and rounds differently."""

    kind = "cpu"
    batch_sizes: tuple[int, ...] = (1,)
    prepares_each_shape = False

    def __init__(self, index: int | None = None) -> None:
        del index  # TorchServe numbers GPUs only
        super().__init__()

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """Nothing ever is."""
        return None

    def int8_unavailable_reason(self) -> str | None:
        """VNNI, on older processors."""
        return int8.unavailable_reason()

    def describe(self) -> str:
        """The architecture and the threads that torch uses."""
        return f"{self.name} ({platform.machine()}, {torch.get_num_threads()} threads)"
