"""Which card: one process sees one device, number 0, and may choose its module before the first use."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from habana_frameworks.torch.simulated.environment import Machine, numbers

_CARDS_IN_A_BOX = 8
_count: int | None = None


def device_count() -> int:
    """The machine's cards, whether free or not and whether visible or not; counted once."""
    global _count
    if _count is None:
        _count = Machine.from_environment().cards
    return _count


def current_device() -> int:
    """Always 0."""
    return 0


def set_device(device: Any) -> None:
    """Choose the module that the first use will acquire; afterwards it changes nothing."""
    index = _index(device)
    modules = numbers("HABANA_VISIBLE_MODULES")
    if modules is None and "HLS_MODULE_ID" not in os.environ and device_count() < _CARDS_IN_A_BOX:
        assert index == 0, "As HABANA_VISIBLE_MODULES is not provided, the only supported device idx is 0."
        return
    os.environ["HLS_MODULE_ID"] = str((modules or tuple(range(_CARDS_IN_A_BOX)))[index])


def _index(device: Any) -> int:
    if isinstance(device, int):
        return device
    chosen = torch.device(device)
    if chosen.type != "hpu":
        raise ValueError(f"Expected a hpu device, but got: {chosen}")
    return chosen.index or 0


class device:  # noqa: N801 - the name of the real class
    """A context in which a device is chosen; with one device it changes nothing."""

    def __init__(self, index: Any) -> None:
        self.index = index

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None


class device_of(device):  # noqa: N801 - the name of the real class
    """As `device`, by a tensor that lies on it."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor.device.index)
