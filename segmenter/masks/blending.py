"""The labels of a resized score map, without resizing it where neighbouring pixels agree.

Only the best label of each pixel is wanted. Bilinear resizing blends four neighbouring scores, with weights from 0 to 1
that sum to 1. Where one label is the best in all four, it is the best in the blend too. Only where the neighbours
differ must the blend be computed. The best labels of a small map, with the pixels between them to be found:

    A . . . A . . . B      between A and A, above A and A: A, nothing to compute
    .       .       .
    .   A   .   ?   .      between A and B: blend the scores of these pixels alone
    A . . . A . . . B

That is exact, and most pixels of most masks lie inside a segment. Where a map is resized twice, the second step asks
the first for the scores of a few pixels, and only those are computed in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.segmenter.masks.score_maps import DenseScoreMap, ResizedScoreMap, Rule, ScoreMap, positions

# NumPy does what is small here: it selects, counts and compares several times faster than torch.
Labels = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int32]  # no map has 2 ** 31 pixels, and NumPy's own take twice the bytes
Shares = npt.NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)

# Pixels are blended in parts of this many elements at a time: 2 MB of float32.
PART_ELEMENTS = 500_000
_NEIGHBOURS = 4
# Costs, as measured. The unit is the time that it takes to move one score.
BLEND_COST = 4  # to blend a single pixel, on top of moving its scores
_LOOK_UP = 20  # to look up a single pixel of the source
_PICK = 1 / 3  # to take one score of such a pixel, which about three blended pixels share


class TooMixedError(Exception):
    """A map of scores without segments, which is faster resized as a whole."""


@dataclass(frozen=True)
class Axis:
    """Each of T places along an axis as a blend of two neighbours along another."""

    neighbours: Places  # [T, 2]: one and the next, or the same twice at the end
    weights: Shares  # [T, 2], 0..1


class Labelled(Protocol):
    """A map [K, H, W] whose labels are known, and of its scores those that are asked for."""

    labels: Labels  # [H, W]: the first label with the highest score

    def scores(self, pixels: Places) -> tuple[Tensor, Places]:
        """The scores of `pixels` [...], counted row by row: a table float32 [M, K], and the row of each in it [...]."""
        ...


class Given:
    """Scores that are there: float32 [K, H, W], K up to 255."""

    def __init__(self, scores: Tensor) -> None:
        _, self.labels = best_labels(scores)
        self._scores = scores.flatten(1)
        self._asked = 0

    def scores(self, pixels: Places) -> tuple[Tensor, Places]:
        """As `Labelled` says. Most masks need few pixels; for many the table of all is made instead, and kept."""
        self._asked += pixels.size
        if self._asked * (_LOOK_UP + _PICK * len(self._scores)) >= self._scores.numel():
            return self._table, pixels
        distinct, rows = _distinct(pixels)
        return _transposed(self._scores.index_select(1, torch.from_numpy(distinct))), rows

    @cached_property
    def _table(self) -> Tensor:
        return _transposed(self._scores)


class Blended:
    """Another map, resized."""

    def __init__(
        self,
        source: Labelled,
        count: int,
        rows: Axis,
        columns: Axis,
        *,
        part_elements: int = PART_ELEMENTS,
        blend_cost: float = BLEND_COST,
    ) -> None:
        """Find the labels of all pixels; only pixels between differing neighbours need their `count` scores.

        Raises:
            TooMixedError: so many pixels need their scores that resizing the whole map is faster.
        """
        self._source = source
        self._first_rows, self._first_columns = rows.neighbours[:, 0], columns.neighbours[:, 0]
        # Of the four neighbours of a pixel, what its row [H, 4] and its column [W, 4] have to say.
        width = source.labels.shape[1]
        self._above_below = np.repeat(rows.neighbours * np.int32(width), 2, axis=1)
        self._left_right = np.tile(columns.neighbours, 2)
        self._down, self._across = np.repeat(rows.weights, 2, axis=1), np.tile(columns.weights, 2)
        mixed = self._nearest(_mixed(source.labels))
        if np.count_nonzero(mixed) * (count + blend_cost) > mixed.size * count:
            raise TooMixedError
        self.labels = self._nearest(source.labels)
        for pixels in _parts(mixed, count, part_elements):
            _, self.labels.reshape(-1)[pixels] = best_labels(_transposed(self._blends(pixels)))

    def scores(self, pixels: Places) -> tuple[Tensor, Places]:
        """As `Labelled` says: each pixel is blended once."""
        distinct, rows = _distinct(pixels)
        return self._blends(distinct), rows

    def _blends(self, pixels: Places) -> Tensor:
        """The scores of `pixels` [N], each a blend of four pixels of the source: float32 [N, K]."""
        row, column = np.divmod(pixels, np.int32(len(self._left_right)))
        neighbours = self._above_below.take(row, axis=0)
        neighbours += self._left_right.take(column, axis=0)
        weights = self._down.take(row, axis=0)
        weights *= self._across.take(column, axis=0)
        table, places = self._source.scores(neighbours)
        return _bags(places, table, weights)

    def _nearest(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """For every pixel the one of `values` [h, w] that the first of its neighbours has."""
        return values.take(self._first_columns, axis=1).take(self._first_rows, axis=0)


def blended_labels(
    scores: ScoreMap, *, part_elements: int = PART_ELEMENTS, blend_cost: float = BLEND_COST
) -> Labels | None:
    """The labels [H, W] of a map that was resized once or more; None for any other map.

    A pixel's label is the first one with the highest score. The result is None, too, where resizing the whole map is
    faster, which is decided by `blend_cost`. `part_elements` bounds the memory taken, and changes no label.
    """
    steps: list[ResizedScoreMap] = []
    while isinstance(scores, ResizedScoreMap):
        steps.append(scores)
        scores = scores.source
    if not steps or not isinstance(scores, DenseScoreMap):
        return None
    labelled: Labelled = Given(scores.scores)
    try:
        for step in reversed(steps):
            height, width = labelled.labels.shape
            if (height, width) != (step.height, step.width):
                rows, columns = _axis(height, step.height, step.rule), _axis(width, step.width, step.rule)
                labelled = Blended(
                    labelled, len(scores.scores), rows, columns, part_elements=part_elements, blend_cost=blend_cost
                )
    except TooMixedError:
        return None
    return labelled.labels


def best_labels(scores: Tensor) -> tuple[Tensor, Labels]:
    """The highest of `scores` float32 [K, ...], K up to 255, and the first label that has it: float32 and uint8 [...].

    As pooling with a window of K x 1 over an image that has a channel for each place: its way for channels that come
    last in memory, which they do, takes vectors of them and keeps the indices, and `max(dim=0)` does not.
    """
    places = scores.reshape(1, len(scores), 1, -1).permute(0, 3, 1, 2)
    best, labels = F.max_pool2d(places, (len(scores), 1), return_indices=True)
    return best.view(scores.shape[1:]), labels.view(scores.shape[1:]).numpy().astype(np.uint8)


def _bags(places: Places, table: Tensor, weights: Shares) -> Tensor:
    """For each row of `places` [N, 4] the sum of these rows of `table` [M, K] times their `weights`: [N, K]."""
    return F.embedding_bag(torch.from_numpy(places), table, per_sample_weights=torch.from_numpy(weights), mode="sum")


def _transposed(table: Tensor) -> Tensor:
    """[N, K] -> [K, N], by OpenCV, because torch takes nine times as long."""
    return torch.from_numpy(cv2.transpose(table.numpy())).view(table.shape[1], table.shape[0])


def _mixed(labels: Labels) -> npt.NDArray[np.bool_]:
    """Where a pixel of `labels` [H, W], the next in its row and the two below them are not all alike: [H, W]."""
    across = labels[:, 1:] != labels[:, :-1]
    mixed = np.zeros(labels.shape, dtype=np.bool_)
    mixed[:, :-1] = across
    mixed[:-1, :-1] |= across[1:]
    mixed[:-1] |= labels[1:] != labels[:-1]
    return mixed


def _parts(chosen: npt.NDArray[np.bool_], count: int, elements: int) -> Iterator[Places]:
    """The places [N] of the `chosen` pixels [H, W], counted row by row.

    They come in parts, so that the `count` scores of a part have at most about `elements` elements.
    """
    height, width = chosen.shape
    most = max(1, elements // max(count, _NEIGHBOURS))
    strip = max(1, elements // width)
    for top in range(0, height, strip):
        found = (np.flatnonzero(chosen[top : top + strip]) + top * width).astype(np.int32)
        for start in range(0, len(found), most):
            yield found[start : start + most]


def _distinct(values: Places) -> tuple[Places, Places]:
    """The `values`, each once and in order, and where each of them lies there. `np.unique` would sort them."""
    least = values.min()
    local = values - least
    seen = np.zeros(local.max() + 1, dtype=np.bool_)
    seen[local.ravel()] = True
    distinct = np.flatnonzero(seen).astype(np.int32)
    return distinct + least, (np.cumsum(seen, dtype=np.int32) - 1).take(local)


@lru_cache(maxsize=64)
def _axis(source: int, target: int, rule: Rule) -> Axis:
    where = positions(source, target, rule).numpy()
    first = where.astype(np.int32)
    share = (where - first).astype(np.float32)
    neighbours = np.stack([first, np.minimum(first + 1, source - 1)], axis=1)
    return Axis(neighbours, np.stack([1 - share, share], axis=1))
