"""Linear layers of the image encoder by oneDNN, which torch ships beside MKL, on CPUs where it multiplies faster.

`F.linear` gives float32 to MKL. oneDNN takes the same weights as they lie in memory, so weights mapped from a file stay
shared by all workers, and it computes GELU while a result is still in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

_TYPES = (torch.float32, torch.bfloat16)
_TOLERANCE = 1e-4


class OneDnnLinear(nn.Module):
    """An `nn.Linear` by oneDNN, with the very tensors of the original; with `gelu`, followed by the exact GELU."""

    def __init__(self, original: nn.Linear, *, gelu: bool = False) -> None:
        super().__init__()
        self.weight: Tensor = original.weight  # [N, K]
        self.bias: Tensor | None = original.bias  # [N]
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N], of the type of `x` and the weights.

        Torch multiplies where oneDNN does not: on other devices, in other types, and where gradients are wanted.
        """
        wanted = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        if x.device.type == "cpu" and x.dtype in _TYPES and not wanted:
            return _product(x, self.weight, self.bias, gelu=self.gelu)
        out = F.linear(x, self.weight, self.bias)
        return F.gelu(out) if self.gelu else out


def onednn_unavailable_reason(dtype: torch.dtype) -> str | None:
    """Why oneDNN cannot multiply by weights of `dtype` on this machine, in words; None if it can.

    A product is tried: the operator is one that torch keeps for its compiler, and says nothing of itself.
    """
    if dtype not in _TYPES:
        return f"it is not used for {dtype}"
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=generator) for shape in ((2, 3, 32), (16, 32), (16,)))
    try:
        found = _product(x.to(dtype), weight.to(dtype), bias.to(dtype), gelu=True).float()
    except (AttributeError, RuntimeError, TypeError) as failure:
        return f"its product does not run: {str(failure).splitlines()[0]}"
    expected = F.gelu(F.linear(x.to(dtype).float(), weight.to(dtype).float(), bias.to(dtype).float()))
    error = float((found - expected).abs().max() / expected.abs().max())
    allowed = max(_TOLERANCE, torch.finfo(dtype).eps)
    return None if error <= allowed else f"its product is wrong by {error:.1e}; accepted: up to {allowed:.1e}"


def multiply_by_onednn(net: nn.Module) -> int:
    """Let oneDNN multiply in the blocks of timm's transformer in `net`, in place; returns the number of layers.

    They are the four layers of a block, with the GELU between. Layers that are no `nn.Linear`, as int8 ones, stay as
    they are. So does the text tower, which gained 5 %.
    """
    count = 0
    for parent, name in _layers(net):
        layer = parent.get_submodule(name)
        if type(layer) is not nn.Linear:
            continue
        gelu = name == "fc1" and _is_exact_gelu(parent.get_submodule("act"))
        parent.register_module(name, OneDnnLinear(layer, gelu=gelu))
        if gelu:
            parent.register_module("act", nn.Identity())
        count += 1
    return count


def _layers(net: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The linear layers that do most of the work: (parent module, name)."""
    for part in list(net.modules()):
        if isinstance(part, VisionTransformer):
            for block in part.blocks:
                yield from ((block.attn, "qkv"), (block.attn, "proj"), (block.mlp, "fc1"), (block.mlp, "fc2"))


def _is_exact_gelu(activation: nn.Module) -> bool:
    return isinstance(activation, nn.GELU) and activation.approximate == "none"


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, *, gelu: bool) -> Tensor:
    attribute, algorithm = ("gelu", "none") if gelu else ("none", "")
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, attribute, [], algorithm)
    return out
