"""The labels of a resized map of scores, without resizing it where its neighbours agree.

Bilinear resizing blends four neighbouring scores with weights from 0 to 1 that sum to 1. Where one label is the best
in all four, it is the best in the blend too; only where they differ must the blend be computed. That is exact, and
most pixels of most masks lie inside a segment. A map that was resized twice is followed step by step: what lies between
the steps is computed for the pixels alone that the next step asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from segmenter.scoremaps import Resized, Rule, ScoreMap, Whole, positions

# NumPy does what is small here: it selects, counts and compares several times faster than torch.
Labels = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int32]  # no map has 2 ** 31 pixels, and NumPy's own take twice the bytes
Shares = npt.NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)

# Elements that are worked on at a time: 4 MB of float32.
_ELEMENTS = 1_000_000
_NEIGHBOURS = 4
# Blending pixel by pixel costs a few times what it costs for whole rows.
_MOST_MIXED = 0.4


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

    def scores(self, pixels: Places) -> Tensor:
        """The scores of `pixels` [N], counted row by row: float32 [N, K]."""
        ...


class Given:
    """Scores that are there: float32 [K, H, W], K up to 255."""

    def __init__(self, scores: Tensor) -> None:
        self.labels = _best(scores)
        self._table = scores.flatten(1)

    def scores(self, pixels: Places) -> Tensor:
        """As `Labelled` says. Most pixels are never asked for, so the table is not transposed as a whole."""
        return _transposed(self._table.index_select(1, torch.from_numpy(pixels)))


class Blended:
    """Another map, resized."""

    def __init__(self, source: Labelled, count: int, rows: Axis, columns: Axis) -> None:
        """The labels of all pixels, from the `count` scores of those that need them.

        Raises:
            TooMixedError: these are too many.
        """
        self._source = source
        self._first_rows, self._first_columns = rows.neighbours[:, 0], columns.neighbours[:, 0]
        # Of the four neighbours of a pixel, what its row [H, 4] and its column [W, 4] have to say.
        width = source.labels.shape[1]
        self._above_below = np.repeat(rows.neighbours * np.int32(width), 2, axis=1)
        self._left_right = np.tile(columns.neighbours, 2)
        self._down, self._across = np.repeat(rows.weights, 2, axis=1), np.tile(columns.weights, 2)
        mixed = self._nearest(_mixed(source.labels))
        if np.count_nonzero(mixed) > _MOST_MIXED * mixed.size:
            raise TooMixedError
        self.labels = self._nearest(source.labels)
        for pixels in _parts(mixed, max(1, _ELEMENTS // max(count, _NEIGHBOURS))):
            self.labels.reshape(-1)[pixels] = _best(_transposed(self.scores(pixels)))

    def scores(self, pixels: Places) -> Tensor:
        """As `Labelled` says: each is a blend of four pixels of the source, which is asked for each of them once."""
        row, column = np.divmod(pixels, np.int32(len(self._left_right)))
        neighbours = self._above_below.take(row, axis=0)
        neighbours += self._left_right.take(column, axis=0)
        weights = self._down.take(row, axis=0)
        weights *= self._across.take(column, axis=0)
        distinct, places = _distinct(neighbours)
        return _bags(places, self._source.scores(distinct), weights)

    def _nearest(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """For every pixel the one of `values` [h, w] that the first of its neighbours has."""
        return values.take(self._first_columns, axis=1).take(self._first_rows, axis=0)


def blended_labels(scores: ScoreMap) -> Labels | None:
    """The first label with the highest score, [H, W], for a map that was resized, once or more.

    None for any other map, and where resizing all is faster.
    """
    steps: list[Resized] = []
    while isinstance(scores, Resized):
        steps.append(scores)
        scores = scores.source
    if not steps or not isinstance(scores, Whole):
        return None
    labelled: Labelled = Given(scores.scores)
    try:
        for step in reversed(steps):
            height, width = labelled.labels.shape
            if (height, width) != (step.height, step.width):
                rows, columns = _axis(height, step.height, step.rule), _axis(width, step.width, step.rule)
                labelled = Blended(labelled, len(scores.scores), rows, columns)
    except TooMixedError:
        return None
    return labelled.labels


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


def _best(scores: Tensor) -> Labels:
    labels: Labels = first_best(scores, scores.amax(dim=0)).numpy()
    return labels


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


def _parts(chosen: npt.NDArray[np.bool_], most: int) -> Iterator[Places]:
    """The places [N] of the `chosen` [H, W], counted row by row, up to `most` at a time."""
    height, width = chosen.shape
    strip = max(1, _ELEMENTS // width)
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
    return distinct + least, (np.cumsum(seen, dtype=np.int32) - 1)[local]


@lru_cache(maxsize=64)
def _axis(source: int, target: int, rule: Rule) -> Axis:
    where = positions(source, target, rule).numpy()
    first = where.astype(np.int32)
    share = (where - first).astype(np.float32)
    neighbours = np.stack([first, np.minimum(first + 1, source - 1)], axis=1)
    return Axis(neighbours, np.stack([1 - share, share], axis=1))
