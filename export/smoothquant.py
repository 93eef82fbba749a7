"""SmoothQuant (arXiv 2211.10438): moves scales from a layer's inputs to its weights, so that 8 bits hold the inputs.

In transformers a few channels are many times as large as the others. One range covers all channels of a layer's input,
so the small channels would share a handful of its steps. Dividing a channel by a factor, and multiplying the weights
that read it by the same factor, changes nothing in real numbers and makes the channels alike. The division costs no
time: it is folded into the norm before the layer, or into the rows of the layer that make the attention's values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lseg_serve.model import LSeg

# How much of the difference between channels goes to the weights: the paper's alpha, equation 4.
_STRENGTH = 0.5
_LEAST = 1e-5


@torch.no_grad()
def smooth(net: LSeg, images: Iterable[Tensor]) -> None:
    """Move scales from inputs to weights, in place, by the ranges seen on `images` [B, 3, H, W] in -1..1.

    Without images, or a transformer, the network is left as it is.
    """
    blocks = [block for part in net.modules() if isinstance(part, VisionTransformer) for block in part.blocks]
    read = [layer for block in blocks for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1)]
    with _ranges(read) as largest:
        for pixels in images if blocks else ():
            net.image_encoder(pixels)
    for block in blocks if largest else ():
        for norm, layer in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.fc1)):
            factors = _factors(largest[layer], layer.weight)
            norm.weight, norm.bias = (nn.Parameter(value / factors, False) for value in (norm.weight, norm.bias))
            layer.weight = nn.Parameter(layer.weight * factors, False)
        _smooth_values(block.attn.qkv, block.attn.proj, largest[block.attn.proj])


def _smooth_values(qkv: nn.Linear, proj: nn.Linear, largest: Tensor) -> None:
    """Attention blends values but keeps their channels apart, so the rows of `qkv` that make them can take factors."""
    factors = _factors(largest, proj.weight)
    rows = torch.cat([torch.ones(2 * len(factors)), factors])  # queries, keys, values
    qkv.weight, qkv.bias = nn.Parameter(qkv.weight / rows[:, None], False), nn.Parameter(qkv.bias / rows, False)
    proj.weight = nn.Parameter(proj.weight * factors, False)


def _factors(largest: Tensor, weight: Tensor) -> Tensor:
    """What each input channel is divided by, [K]: equation 4, for its largest value [K] and the weights [N, K]."""
    return (largest**_STRENGTH / weight.abs().amax(dim=0).clamp_min(_LEAST) ** (1 - _STRENGTH)).clamp_min(_LEAST)


@contextmanager
def _ranges(layers: Iterable[nn.Linear]) -> Iterator[dict[nn.Linear, Tensor]]:
    """Record the largest absolute input of each channel of `layers` while the context is open."""
    largest: dict[nn.Linear, Tensor] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(layer, nn.Linear)
        seen = inputs[0].abs().flatten(0, -2).amax(dim=0)
        largest[layer] = torch.maximum(largest.get(layer, seen), seen)

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        yield largest
    finally:
        for hook in hooks:
            hook.remove()
