"""The GPU under test; without one these tests are skipped.

`LSEG_TEST_DEVICE=cpu` runs them with the CPU in its place, which tries the tests themselves, not the GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from lseg_serve.segmenter import Config
from lseg_serve.segmenter.config import AccurateParams, StaticImageSizeParams
from lseg_serve.segmenter.devices import CpuDevice, CudaDevice, Device

KIND = os.environ.get("LSEG_TEST_DEVICE", "cuda")
CONFIG = Config(
    device="cpu",  # of the reference; the GPU is given to each segmenter
    static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1), (3, 4), (4, 3)), short_sizes=(96,)),
    accurate=AccurateParams(scales=(0.75, 1.25), crop_size=96, base_size=104, stride=64),
)


class StandIn(CpuDevice):
    """A CPU that takes batches as a GPU does, and has no memory while it is `full`."""

    batch_sizes = CudaDevice.batch_sizes
    full = False

    def to_device(self, tensor: Tensor) -> Tensor:
        if self.full:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB (stand-in)")
        return super().to_device(tensor)


@pytest.fixture(scope="session")
def kind() -> str:
    """The kind of device under test."""
    missing = CudaDevice.unavailable_reason() if KIND == "cuda" else None
    if missing is not None:
        pytest.skip(f"needs a CUDA GPU: {missing}")
    return KIND


@pytest.fixture(scope="session")
def gpu(kind: str) -> Device:
    """The first GPU, or what stands in for it."""
    return CudaDevice(0) if kind == "cuda" else StandIn()


@contextmanager
def no_memory(device: Device) -> Iterator[None]:
    """Nothing more can be allocated on the device, but for what its allocator still has in pieces."""
    device.empty_cache()
    if isinstance(device, StandIn):
        device.full = True
    else:
        torch.cuda.set_per_process_memory_fraction(0.0, device.torch_device)
    try:
        yield
    finally:
        if isinstance(device, StandIn):
            device.full = False
        else:
            torch.cuda.set_per_process_memory_fraction(1.0, device.torch_device)
