"""Floating-point operations of a call, counted operator by operator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def counted_gflop(call: Callable[[], object]) -> float:
    """10^9 operations of matrix products, convolutions and attention in `call`; 2 for each multiply-add."""
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) / 1e9
