"""How the card computes where it differs from the CPU: 64-bit types in 32 bits, and GELU by its tanh form."""

from __future__ import annotations

import os

import torch
from torch import Tensor

_INT32 = torch.iinfo(torch.int32)


def tanh_for_gelu() -> bool:
    """Whether an exact GELU is computed by the tanh approximation, so unless PT_HPU_FORCE_TANH_FOR_GELU is off."""
    return os.environ.get("PT_HPU_FORCE_TANH_FOR_GELU", "1").lower() not in ("0", "false")


def narrowed(result: Tensor) -> Tensor:
    """What the card would have: a 64-bit result as 32 bits hold it, its dtype still reported as 64 bits."""
    if result.dtype is torch.int64:
        return result.to(torch.int32).to(torch.int64)
    if result.dtype is torch.float64:
        return result.to(torch.float32).to(torch.float64)
    return result


def narrow_in_place(result: Tensor) -> None:
    """As `narrowed`, for a result that was written over an argument."""
    if result.dtype is torch.int64 or result.dtype is torch.float64:
        result.copy_(narrowed(result))


def as_stored(source: Tensor) -> Tensor:
    """A host tensor as it arrives on the card.

    Raises:
        RuntimeError: an int64 outside 32 bits, unless PT_HPU_ENABLE_VALID_DATA_RANGE_CHECK is off; the text is the
            simulator's own.
    """
    if source.dtype is torch.int64 and source.numel() and _range_checked():
        low, high = source.aminmax()
        if low < _INT32.min or high > _INT32.max:
            raise RuntimeError(f"simulated Gaudi: int64 values {int(low)} to {int(high)} do not fit into int32")
    return narrowed(source)


def _range_checked() -> bool:
    return os.environ.get("PT_HPU_ENABLE_VALID_DATA_RANGE_CHECK", "1").lower() not in ("0", "false")
