"""NVIDIA GPUs through CUDA."""

from __future__ import annotations

import torch

from lseg_serve.segmenter.devices.base import Device, DeviceMemory


class CudaDevice(Device):
    """One GPU: the one that TorchServe assigned to this worker, or else the first."""

    kind = "cuda"
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8)
    prepares_each_shape = True
    instead_of_int8 = torch.bfloat16

    def __init__(self, index: int | None = None) -> None:
        super().__init__(index)
        self.unit = index

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """Why torch cannot use a GPU; None if it can."""
        if torch.cuda.is_available():
            return None
        return "torch has no CUDA here" if torch.version.cuda is None else "no CUDA GPU was found"

    def describe(self) -> str:
        """The GPU's model."""
        return f"cuda ({torch.cuda.get_device_name(self.torch_device)})"

    def wait(self) -> None:
        """Wait until all streams of the GPU are done."""
        torch.cuda.synchronize(self.torch_device)

    def memory(self) -> DeviceMemory:
        """The GPU's memory as the driver counts it, which is that of all processes together."""
        free, total = torch.cuda.mem_get_info(self.torch_device)
        return DeviceMemory(total - free, free)

    def empty_cache(self) -> None:
        """Give freed blocks back to the driver: torch keeps them, cut into sizes that may not fit the next tensor."""
        with torch.cuda.device(self.torch_device):
            torch.cuda.empty_cache()
