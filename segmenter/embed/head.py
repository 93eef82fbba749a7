"""The head on the host: from features to embeddings, without a graph of its own on the device.

The head is a 1x1 convolution, so it commutes with every weighted sum of pixels whose weights are carried along. So
features are summed, which have half or fewer channels, and the head is applied once, to the sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.embeddings.sampling import Blend, Floats, Taps, blended, doubled_blend
from lseg_serve.model import LSeg

_MOST_ROWS = 8192  # that the head is applied to at a time


@dataclass(frozen=True)
class FeatureMap:
    """What the network made of one image or window, on the host."""

    features: Tensor  # float32 [F, h, w], at a quarter of the input's size
    inverse_lengths: Tensor  # float32 [2h, 2w], of the embeddings at half of it

    @classmethod
    def of(cls, features: Tensor, height: int, width: int) -> FeatureMap:
        """From the engine's features [F+4, P] of an input of `height` x `width` pixels, padding behind them."""
        height, width = height // 4, width // 4
        own = features[:, : height * width].float().unflatten(1, (height, width))
        return cls(own[:-4], F.pixel_shuffle(own[-4:], 2)[0])

    def mirrored(self) -> FeatureMap:
        """The map with left and right exchanged."""
        return FeatureMap(self.features.flip(-1), self.inverse_lengths.flip(-1))

    def sums(self, rows: Taps, columns: Taps) -> Floats:
        """Weighted sums of unit embeddings, still before the head: float32 [N, F+1], the last the sum of weights.

        `rows` and `columns` [N, 3] are of the pixels at half of the input's size.
        """
        blend = doubled_blend(rows, columns, self.inverse_lengths.numpy())
        distinct, places = np.unique(blend.index, return_inverse=True)
        table = self.features.flatten(1)[:, torch.from_numpy(distinct)].T.contiguous().numpy()
        found = blended(table, Blend(places.reshape(blend.index.shape), blend.weights))
        return np.concatenate([found, blend.weights.sum(axis=1, keepdims=True)], axis=1)


class Head:
    """A copy of the network's head in float32."""

    def __init__(self, net: LSeg) -> None:
        self.weight = net.head.weight.detach().to("cpu", torch.float32, copy=True).flatten(1)  # [E, F]
        bias = net.head.bias
        self.bias = torch.zeros(len(self.weight)) if bias is None else bias.detach().to("cpu", torch.float32, copy=True)

    @property
    def size(self) -> int:
        """E."""
        return len(self.weight)

    def of_map(self, found: FeatureMap) -> Floats:
        """The embeddings before the last doubling, not of unit length: float32 [E, h, w]."""
        rows = torch.addmm(self.bias[:, None], self.weight, found.features.flatten(1))
        vectors: Floats = rows.unflatten(1, found.features.shape[1:]).numpy()
        return vectors

    def of_sums(self, sums: Floats, dtype: str, *, scale: float = 1.0, unit: bool = False) -> Floats:
        """Embeddings [N, E] in `dtype`, of sums [N, F+1], times `scale` or of unit length. Few rows at a time."""
        found = np.empty((len(sums), self.size), dtype=dtype)
        for start in range(0, len(sums), _MOST_ROWS):
            part = torch.from_numpy(sums[start : start + _MOST_ROWS])
            vectors = (part[:, :-1] @ self.weight.T + part[:, -1:] * self.bias) * scale
            found[start : start + _MOST_ROWS] = (F.normalize(vectors, dim=1) if unit else vectors).numpy()
        return found

    def of_summed_map(self, sums: Tensor, dtype: str, *, scale: float = 1.0) -> Floats:
        """Embeddings [E, H, W] in `dtype`, of sums [F+1, H, W], times `scale`. Few rows at a time."""
        _, height, width = sums.shape
        found = np.empty((self.size, height, width), dtype=dtype)
        size = max(1, _MOST_ROWS // width)
        for top in range(0, height, size):
            part = sums[:, top : top + size].flatten(1)
            vectors = (self.weight @ part[:-1] + self.bias[:, None] * part[-1]) * scale
            found[:, top : top + size] = vectors.unflatten(1, (-1, width)).numpy()
        return found


def as_half(vectors: Floats) -> Floats:
    """`vectors` as float16, all times the one power of two that lets the largest number lie just within its range.

    For vectors that are brought to unit length later, which undoes it: so neither large nor small ones lose precision.
    """
    largest = float(np.abs(vectors).max())
    if not 0 < largest < float("inf"):
        return vectors.astype(np.float16)
    return np.ldexp(vectors, 15 - int(np.frexp(largest)[1])).astype(np.float16)
