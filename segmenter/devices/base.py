"""What the segmenter needs of a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)
Step = Callable[..., Tensor]


@dataclass(frozen=True)
class GraphCounts:
    """What a device that compiles graphs has done since the start of the process."""

    compilations: int = 0
    cache_hits: int = 0  # graphs found in the recipe cache, in memory or on disk
    fallbacks: int = 0  # operators that ran on the host because the device has none


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes of the device's own memory."""

    used: int
    free: int


class Device(ABC):
    """A device that holds the network and runs it."""

    kind: str
    # How many images may go through the network together, in ascending order.
    batch_sizes: tuple[int, ...]
    # Whether the first run of each shape costs more than the next, so that warming up one shape is not enough.
    prepares_each_shape: bool
    # Whether a new shape costs a compilation, so that every tensor must have one of a few known ones.
    compiles_each_shape = False
    # How often a shape must run until nothing more is prepared for it.
    runs_to_warm = 1
    # What the network computes in where an archive is int8 and the device has no 8-bit kernels.
    instead_of_int8 = torch.float32
    # The kind that was asked for and is not here, where this device stands in for it.
    instead_of: str | None = None

    def __init__(self, index: int | None = None) -> None:
        self.torch_device = torch.device(self.kind, index) if index is not None else torch.device(self.kind)

    @classmethod
    @abstractmethod
    def unavailable_reason(cls) -> str | None:
        """What keeps this kind of device from being used here, in words; None where it can be."""

    def int8_unavailable_reason(self) -> str | None:
        """What keeps int8 layers from running here, in words; None where they do."""
        return f"{self.kind} has no kernels for it here"

    @abstractmethod
    def describe(self) -> str:
        """The device as a person would name it."""

    @property
    def name(self) -> str:
        """The kind, for answers and metrics; it tells where it stands in for another."""
        return self.kind if self.instead_of is None else f"{self.kind} (no {self.instead_of})"

    def place(self, module: Module) -> Module:
        """Move the module's tensors to the device."""
        return module.to(self.torch_device)

    def prepare(self, step: Step, *, short: bool = False) -> Step:
        """A step of the network as the device runs it best: as it is, captured or compiled.

        A `short` step has a handful of operators, which no capture can speed up.
        """
        del short
        return step

    def reduced_precision(self) -> AbstractContextManager[object]:
        """In its block the device may compute in the lower precision that the configuration names."""
        return nullcontext()

    def to_device(self, tensor: Tensor) -> Tensor:
        """Copy a host tensor to the device."""
        return tensor.to(self.torch_device)

    def to_host(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the host, once everything that computes it is done."""
        return tensor.cpu()

    def wait(self) -> None:  # noqa: B027 - nothing to wait for where work is done at once
        """Return when the device has done everything it was given."""

    def memory(self) -> DeviceMemory | None:
        """The device's own memory; None where it uses the host's."""
        return None

    def graph_counts(self) -> GraphCounts | None:
        """What was compiled so far; None where nothing ever is."""
        return None
