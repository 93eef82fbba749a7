"""The interface of a device: what the segmenter needs to run the network on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from lseg_serve.model import Attend, LSeg

Module = TypeVar("Module", bound=nn.Module)
Step = Callable[..., Tensor]

# What is said where there is no class of its own for it: by torch on a CPU, CUDA's libraries, a Gaudi, C++ and OpenCV.
_OUT_OF_MEMORY = (
    "allocate memory",
    "out of memory",
    "alloc_failed",
    "allocation failed for size",
    "bad_alloc",
    "insufficient memory",
)


@dataclass(frozen=True)
class GraphCounts:
    """What a device that compiles graphs has counted since the start of the process."""

    compilations: int = 0
    cache_hits: int = 0  # graphs found in the recipe cache, in memory or on disk
    fallbacks: int = 0  # operators that ran on the host, because the device does not have them


@dataclass(frozen=True)
class DeviceMemory:
    """The device's own memory, in bytes."""

    used: int
    free: int


class Device(ABC):
    """A device that holds the network and runs it."""

    kind: str
    # How many images may go through the network together, in ascending order.
    batch_sizes: tuple[int, ...]
    # Whether the first run of each shape is slower than the next, so that warm-up must run every shape.
    prepares_each_shape: bool
    # Whether each new shape is compiled, so that every tensor must have one of a few planned shapes.
    compiles_each_shape = False
    # How many runs of a shape are needed until the device prepares nothing more for it.
    runs_to_warm = 1
    # The precision to compute an int8 archive in, if the device has no 8-bit kernels.
    instead_of_int8 = torch.float32
    # The kind of device that was configured but cannot be used, if this one replaces it.
    instead_of: str | None = None
    # Which of the machine's devices of its kind it is: a Gaudi's module, a GPU's index; None if nobody can tell.
    unit: int | None = None
    # Whether the device has failed for good: only a new process can use it again.
    lost = False

    def __init__(self, index: int | None = None) -> None:
        self.torch_device = torch.device(self.kind, index) if index is not None else torch.device(self.kind)

    @classmethod
    @abstractmethod
    def unavailable_reason(cls) -> str | None:
        """Why this kind of device cannot be used on this machine, in words; None if it can."""

    def int8_unavailable_reason(self) -> str | None:
        """Why int8 layers cannot run on this device, in words; None if they can."""
        return f"{self.kind} has no kernels for it here"

    @abstractmethod
    def describe(self) -> str:
        """The device in words, for people."""

    @property
    def name(self) -> str:
        """The short name, for responses. It says so if this device replaces one of another kind."""
        return self.short_name if self.instead_of is None else f"{self.short_name} (no {self.instead_of})"

    @property
    def short_name(self) -> str:
        """The kind and the unit, such as hpu-3."""
        return self.kind if self.unit is None else f"{self.kind}-{self.unit}"

    def place(self, module: Module) -> Module:
        """Move the module's tensors to the device."""
        return module.to(self.torch_device)

    def attention(self) -> Attend | None:
        """The function by which the image encoder attends on this device; None for torch's own."""
        return None

    def tune(self, net: LSeg) -> None:  # noqa: B027 - a device with one kernel for each operator has nothing to choose
        """Choose among the kernels that this device has for the same operator of `net`, once it is placed."""

    def prepare(self, step: Step, *, short: bool = False) -> Step:
        """`step`, a step of the network, as this device runs it fastest: unchanged, captured or compiled.

        A `short` step has only a handful of operators, which capturing does not speed up.
        """
        del short
        return step

    def reduced_precision(self) -> AbstractContextManager[object]:
        """A context in which the device may compute in a lower precision, if the configuration has one."""
        return nullcontext()

    def to_device(self, tensor: Tensor) -> Tensor:
        """Copy a host tensor to the device."""
        return tensor.to(self.torch_device)

    def to_host(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the host, after waiting for what computes it."""
        return tensor.cpu()

    def wait(self) -> None:  # noqa: B027 - a device that works at once has nothing to wait for
        """Wait until the device has done all its work."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether memory ran out, of the device or of the host."""
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        return any(words in str(error).lower() for words in _OUT_OF_MEMORY)

    def is_lost_by(self, error: BaseException) -> bool:
        """Whether `error` says that this process cannot use the device any more."""
        del error
        return False

    def memory(self) -> DeviceMemory | None:
        """The use of the device's own memory; None if it uses the host's."""
        return None

    def empty_cache(self) -> None:  # noqa: B027 - a device whose allocator keeps nothing has nothing to give back
        """Give the memory back that the device's allocator keeps for later tensors."""

    def graph_counts(self) -> GraphCounts | None:
        """The counts of graphs so far; None if the device does not compile graphs."""
        return None

    def fallback_counts(self) -> dict[str, int]:
        """How often each operator ran on the host, because the device does not have it; as far as the device tells."""
        return {}
