"""The labels of a resized map of scores, without resizing it where its neighbours agree.

Bilinear resizing blends a few neighbouring scores with weights from 0 to 1 that sum to 1. Where one label is the best
in all of them, it is the best in the blend too; only where they differ must the blend be computed. That is exact, and
most pixels of most masks lie inside a segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segmenter.scoremaps import Resized, ScoreMap, Whole, positions

# Elements that are worked on at a time: 4 MB of float32.
_ELEMENTS = 1_000_000
# Blending pixel by pixel costs a few times what it costs for whole rows.
_MOST_MIXED = 0.4


@dataclass(frozen=True)
class Axis:
    """Each of T places along an axis as a blend of n neighbours along a shorter one."""

    start: Tensor  # int64 [T]: the first of the neighbours
    weights: Tensor  # float32 [T, n], each row with the sum 1

    @property
    def reach(self) -> int:
        """How many neighbours there are: n."""
        return self.weights.shape[1]


@dataclass(frozen=True)
class Blend:
    """A map [K, H, W] each of whose pixels is a blend of neighbours in `scores` float32 [K, h, w]."""

    scores: Tensor
    rows: Axis
    columns: Axis

    def labels(self) -> Tensor | None:
        """The first label with the highest score: uint8 [H, W], K up to 255; None where resizing all is faster."""
        best = first_best(self.scores, self.scores.amax(dim=0))
        mixed = _mixed(best, self.rows.reach, self.columns.reach)
        if mixed.float().mean() > _MOST_MIXED:
            return None
        labels = best[:, self.columns.start][self.rows.start]
        # [h*w, K]: what a pixel needs lies together. OpenCV, because torch takes nine times as long.
        table = torch.from_numpy(cv2.transpose(self.scores.flatten(1).numpy())).view(-1, len(self.scores))
        for row, column in self._places(mixed):
            blended = self._blended(table, row, column)
            labels[row, column] = first_best(blended, blended.amax(dim=0))
        return labels

    def _places(self, mixed: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows and columns [N] of the pixels whose neighbours differ, some at a time."""
        most = max(1, _ELEMENTS // max(len(self.scores), self.rows.reach * self.columns.reach))
        strip = max(1, _ELEMENTS // len(self.columns.start))
        across = mixed[:, self.columns.start]
        for top in range(0, len(self.rows.start), strip):
            found = across[self.rows.start[top : top + strip]].nonzero()
            for part in found.split(most):
                yield part[:, 0] + top, part[:, 1]

    def _blended(self, table: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """The scores [K, N] of the pixels at `row` and `column` [N]."""
        width = self.scores.shape[2]
        # Pixels come last until the end: additions along them are many times faster than along two neighbours.
        down = (self.rows.start[row] + torch.arange(self.rows.reach)[:, None]) * width
        across = self.columns.start[column] + torch.arange(self.columns.reach)[:, None]
        neighbours = (down[:, None] + across).flatten(0, 1).t().contiguous()
        weights = self.rows.weights[row].t()[:, None] * self.columns.weights[column].t()
        weights = weights.flatten(0, 1).t().contiguous()
        return F.embedding_bag(neighbours, table, per_sample_weights=weights, mode="sum").t()


def as_blend(scores: ScoreMap) -> Blend | None:
    """`scores` as a blend, where it is a map that was resized, once or more; else None."""
    sizes: list[Resized] = []
    while isinstance(scores, Resized):
        sizes.append(scores)
        scores = scores.source
    if not sizes or not isinstance(scores, Whole):
        return None
    rows, columns = (_untouched(length) for length in scores.shape[1:])
    for one in reversed(sizes):
        rows, columns = _resized(rows, one.height, one), _resized(columns, one.width, one)
    return Blend(scores.scores, _compact(*rows, scores.shape[1]), _compact(*columns, scores.shape[2]))


def first_best(scores: Tensor, best: Tensor) -> Tensor:
    """The first label [...] with the score `best` [...] among `scores` [K, ...], K up to 255: uint8.

    `max(dim=0)` gives the same, several times slower: its indices are 64 bits wide, and it does not use vectors.
    NumPy compares four times as fast as torch.
    """
    count = len(scores)
    backwards = torch.arange(count, 0, -1, dtype=torch.uint8).view(-1, *[1] * best.ndim)
    same = torch.from_numpy(np.equal(scores.numpy(), best.numpy()))
    found = same.view(torch.uint8).mul_(backwards).amax(dim=0)
    return (count - found).clamp_max_(count - 1)


def _mixed(best: Tensor, height: int, width: int) -> Tensor:
    """Where the labels `best` [h, w] differ within the window that begins there: bool [h-height+1, w-width+1]."""
    rows, columns = best.shape[0] - height + 1, best.shape[1] - width + 1
    corner = best[:rows, :columns]
    mixed = torch.zeros_like(corner, dtype=torch.bool)
    for down in range(height):
        for across in range(width):
            mixed |= best[down : down + rows, across : across + columns] != corner
    return mixed


# Places [T, n] among those of the shortest axis, and their weights [T, n].
_Taps = tuple[Tensor, Tensor]


def _untouched(length: int) -> _Taps:
    return torch.arange(length)[:, None], torch.ones(length, 1)


def _resized(taps: _Taps, length: int, step: Resized) -> _Taps:
    """`taps` of an axis, resized to `length` as `step` does."""
    places, weights = taps
    where = positions(len(places), length, step.rule)
    before = where.long()
    way = (where - before).float()
    both = torch.stack([before, (before + 1).clamp_max(len(places) - 1)], dim=1)
    shares = torch.stack([1 - way, way], dim=1)
    return places[both].flatten(1), (weights[both] * shares[..., None]).flatten(1)


def _compact(places: Tensor, weights: Tensor, length: int) -> Axis:
    """The same blend from consecutive neighbours, each once; those of no weight are left out where none needs them."""
    counts = weights > 0
    first = torch.where(counts, places, length).amin(dim=1)
    last = torch.where(counts, places, -1).amax(dim=1)
    reach = int((last - first).max()) + 1
    start = first.clamp_max(length - reach)
    offsets = (places - start[:, None]).clamp(0, reach - 1)
    summed = torch.zeros(len(places), reach).scatter_add_(1, offsets, weights)
    return Axis(start, summed)
