"""Scores without the map of embeddings: the arithmetic of the head, rearranged to avoid its largest tensor.

An embedding is head(x) at half the input's resolution, where x is the decoder's last map, doubled. A score is the dot
product of an embedding and a label, divided by the embedding's length. Both the head (a 1x1 convolution) and the dot
product commute with the doubling, so they run on a quarter of the pixels. The length does not commute. But the squared
length of a bilinear blend of four embeddings is a quadratic form in their dot products, and those are known before the
doubling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEAST_SQUARE = 1e-24  # of F.normalize, which divides by at least 1e-12


def fused_features(x: Tensor, head: nn.Conv2d) -> Tensor:
    """What scores need of an image: float32 [B, F+4, h, w].

    `x` [B, F, h, w] is the decoder's map at a quarter of the input's resolution, before it is doubled. The last four
    channels hold 1/length of each embedding at half the resolution, four pixels to each of this map's.
    """
    lengths = doubled_square_lengths(head(x).float()).clamp_min(_LEAST_SQUARE).rsqrt()
    return torch.cat([x.float(), F.pixel_unshuffle(lengths[:, None], 2)], dim=1)


def dot_products(features: Tensor, text: Tensor, head: nn.Conv2d) -> Tensor:
    """Dot products of embeddings, not yet of unit length, with `text` [B, K, E]: float32 [B, K+4, P].

    `features` [B, F+4, P] are `fused_features` with their pixels in a row. Their last four channels are passed on
    unchanged, so that the result is one tensor. Each pixel is computed by itself.
    """
    weight = text @ head.weight.float().flatten(1)  # [B, K, F]
    products = torch.bmm(weight, features[:, :-4])
    if head.bias is not None:
        products = products + (text @ head.bias.float())[..., None]
    return torch.cat([products, features[:, -4:]], dim=1)


def doubled_cosines(products: Tensor) -> Tensor:
    """Dot products of unit embeddings at twice the size: float32 [B, K, 2h, 2w] for `dot_products` [B, K+4, h, w]."""
    inverse_lengths = F.pixel_shuffle(products[:, -4:], 2)
    size = (inverse_lengths.shape[2], inverse_lengths.shape[3])
    return F.interpolate(products[:, :-4], size=size, mode="bilinear", align_corners=True).mul_(inverse_lengths)


def doubled_square_lengths(embeddings: Tensor) -> Tensor:
    """Squared lengths [B, 2h, 2w] of `embeddings` [B, E, h, w] resized to twice their size, without resizing them.

    The resize is bilinear with aligned corners, as everywhere in lang-seg's decoder.
    """
    height, width = embeddings.shape[2:]
    rows = embeddings.permute(0, 2, 3, 1)  # [B, h, w, E]
    # Only the dot products of neighbours are needed. But one matrix product for each row, of every two of its pixels,
    # is several times faster than a pass over the map for each pair of neighbours.
    within = rows @ rows.transpose(2, 3)  # [B, h, w, w]
    below = _next(rows, dim=1) @ rows.transpose(2, 3)
    own, right = within.diagonal(dim1=2, dim2=3), _right_of(within)  # [B, h, w]
    lower, diagonal = below.diagonal(dim1=2, dim2=3), _right_of(below) + _right_of(below.transpose(2, 3))
    top, a = _places(height, embeddings.device)
    left, b = _places(width, embeddings.device)
    a = a[:, None]
    # First down the columns: squares of the blended embeddings, and their products with the one to the right.
    squares = (1 - a) ** 2 * _rows(own, top) + 2 * a * (1 - a) * _rows(lower, top)
    squares = squares + a**2 * _rows(_next(own, dim=1), top)
    products = (1 - a) ** 2 * _rows(right, top) + a * (1 - a) * _rows(diagonal, top)
    products = products + a**2 * _rows(_next(right, dim=1), top)
    # Then along the rows.
    return (
        (1 - b) ** 2 * squares.index_select(2, left)
        + 2 * b * (1 - b) * products.index_select(2, left)
        + b**2 * _next(squares, dim=2).index_select(2, left)
    )


def _places(length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where each of 2 * `length` pixels lies: int64 index of the pixel before it, float32 share of the next, 0..1."""
    where = torch.arange(2 * length, device=device) * ((length - 1) / (2 * length - 1))
    before = where.long()
    return before, where - before


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """The rows `index` of `x` [B, h, w]: one gather. `x[:, index]` takes a lazy Gaudi many operators."""
    return x.index_select(1, index)


def _next(x: Tensor, dim: int) -> Tensor:
    """`x` moved by one, so that each place holds its successor. The last is repeated; its weight is 0."""
    return torch.cat([x.narrow(dim, 1, x.shape[dim] - 1), x.narrow(dim, -1, 1)], dim=dim)


def _right_of(products: Tensor) -> Tensor:
    """Each pixel's product with the one to its right: [B, h, w] of [B, h, w, w]. The last column is 0."""
    return F.pad(products.diagonal(offset=1, dim1=2, dim2=3), (0, 1))
