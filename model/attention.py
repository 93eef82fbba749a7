"""Attention of the image encoder by another function than torch's own, for devices that have no kernel for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Queries, keys and values [B, heads, N, d] -> [B, heads, N, d].
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class Attention(nn.Module):
    """The layers of a timm attention, with `attend` in place of torch's scaled dot product attention."""

    def __init__(self, original: Any, attend: Attend) -> None:
        super().__init__()
        self.qkv: nn.Module = original.qkv
        self.proj: nn.Module = original.proj
        self.heads: int = original.num_heads
        self.attend = attend

    def forward(self, tokens: Tensor, **masks: Any) -> Tensor:
        """`tokens` [B, N, D] -> [B, N, D]. The image encoder masks nothing; timm's blocks pass its absence on."""
        del masks
        separate: Tensor = self.qkv(tokens).unflatten(2, (3, self.heads, -1))  # [B, N, 3, heads, d]
        queries, keys, values = separate.permute(2, 0, 3, 1, 4).unbind(0)
        projected: Tensor = self.proj(self.attend(queries, keys, values).transpose(1, 2).flatten(2))
        return projected


def attend_by_products(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention as two products and a softmax: the products in the type of their inputs, the softmax in float32.

    Torch's own, where a device has no kernel for it, computes the products in float32 as well.
    """
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype) @ values
