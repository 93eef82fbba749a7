"""Operations of a call, counted operator by operator: 2 for each multiply-add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lseg_serve.model.int8 import Int8Conv2d, Int8Linear


def _linear(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Operations of oneDNN's linear layer, which torch's counter does not know, from the shapes of its inputs."""
    return 2 * prod(x) * weight[0]


_OWN = {torch.ops.mkldnn._linear_pointwise: _linear} if hasattr(torch.ops.mkldnn, "_linear_pointwise") else {}


@dataclass(frozen=True)
class Work:
    """10^9 operations of matrix products, convolutions and attention."""

    float_gflop: float
    int8_gflop: float


@torch.no_grad()
def counted(call: Callable[[], object], net: nn.Module | None = None) -> Work:
    """The operations of `call`. Torch's counter does not know int8 layers; those of `net` are counted by hooks."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        total += 2 * output.numel() * layer.get_buffer("weight").numel() // layer.get_buffer("weight_scale").numel()

    layers = [layer for layer in (net.modules() if net else ()) if isinstance(layer, Int8Linear | Int8Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with FlopCounterMode(display=False, custom_mapping=_OWN) as counter:
            call()
    finally:
        for hook in hooks:
            hook.remove()
    return Work(counter.get_total_flops() / 1e9, total / 1e9)
