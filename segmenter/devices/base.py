"""What the segmenter needs of a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


class Device(ABC):
    """A device that holds the network and runs it."""

    kind: str
    # Images that go through the network together.
    batch_size: int
    # Whether the first run of each shape costs more than the next, so that warming up one shape is not enough.
    prepares_each_shape: bool

    def __init__(self, index: int | None = None) -> None:
        self.torch_device = torch.device(self.kind, index) if index is not None else torch.device(self.kind)

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """What keeps this kind of device from being used here, in words; None where it can be."""

    @abstractmethod
    def describe(self) -> str:
        """The device as a person would name it."""

    def place(self, module: Module) -> Module:
        """Move the module's tensors to the device."""
        return module.to(self.torch_device)

    def to_device(self, tensor: Tensor) -> Tensor:
        """Copy a host tensor to the device."""
        return tensor.to(self.torch_device)

    def to_host(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the host, once everything that computes it is done."""
        return tensor.cpu()
