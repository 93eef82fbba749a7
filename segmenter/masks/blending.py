"""The labels of a resized score map, without resizing it where neighbouring pixels agree.

Resizing the scores of all labels is slow, and only the best label of each pixel is needed. Bilinear resizing blends the
scores of four neighbours, with weights from 0 to 1 that sum to 1. Where one label is the best in all four, it is the
best in the blend, too. The blend must be computed only where the neighbours differ. An example: A and B are the best
labels of a small map, and the dots are pixels of the resized map.

    A . . . A . . . B      among four A: the label is A, and nothing is computed
    .       .       .
    .   A   .   ?   .      among A and B: the scores of this pixel are blended
    A . . . A . . . B

The labels are exact. It is fast because most pixels of most masks lie inside a segment. Where a map is resized twice,
the second step needs the scores of only a few pixels of the first, and the first computes only these.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Protocol, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.segmenter.masks.axes import Axis, Places, Shares, resized_axis
from lseg_serve.segmenter.masks.score_maps import ScoreMap, resizing_steps

# NumPy selects, counts and compares here, because it does that several times faster than torch.
Labels = npt.NDArray[np.uint8]
Chosen = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)
# Pixels are blended in parts of this many elements at a time: 2 MB of float32.
PART_ELEMENTS = 500_000
_NEIGHBOURS = 4
# Costs, as measured. The unit is the time that it takes to move one score.
BLEND_COST = 4  # to blend a single pixel, on top of moving its scores
_LOOK_UP = 20  # to look up a single pixel of the source
_PICK = 1 / 3  # to take one score of such a pixel, which about three blended pixels share


class TooMixedError(Exception):
    """Neighbouring pixels differ so often that resizing the whole map is faster."""


class Labelled(Protocol):
    """A score map [K, H, W]: its labels are there already, its scores are computed for the pixels that are needed."""

    labels: Labels  # [H, W]: the first label with the highest score

    def scores(self, pixels: Places) -> tuple[Tensor, Places]:
        """The scores of `pixels` [...], which are numbered row by row.

        Returns a table of scores float32 [M, K], and for each of `pixels` its row in that table [...].
        """
        ...


class Judge(Protocol):
    """Decides which pixels keep their label, while a map is resized."""

    def cells(self, labels: Labels, mixed: Chosen, mask: Labels) -> Chosen:
        """Judge the pixels of all cells but the `mixed` ones [h, w], in the `mask` [H, W] itself.

        A cell lies between a pixel of the source and the next ones, and is mixed where their `labels` [h, w] differ.
        Returns those of the mixed cells [h, w] whose pixels have to be blended.
        """
        ...

    def pixels(self, scores: Tensor, best: Tensor, labels: Labels) -> Labels:
        """What becomes of the `labels` [N] of blended pixels, with `scores` [K, N], which it may change, `best` [N]."""
        ...


class Given:
    """A score map that is held whole: float32 [K, H, W], K up to 255."""

    def __init__(self, scores: Tensor) -> None:
        _, self.labels = best_labels(scores)
        self._scores = scores.flatten(1)
        self._asked = 0

    def scores(self, pixels: Places) -> tuple[Tensor, Places]:
        """See `Labelled`.

        Most masks need the scores of few pixels, and these are copied. If many are needed, a table of all pixels is
        faster. It is made once and kept.
        """
        self._asked += pixels.size
        if self._asked * (_LOOK_UP + _PICK * len(self._scores)) >= self._scores.numel():
            return self._table, pixels
        distinct, rows = _distinct(pixels)
        return _transposed(self._scores.index_select(1, torch.from_numpy(distinct))), rows

    @cached_property
    def _table(self) -> Tensor:
        return _transposed(self._scores)


class Blended:
    """A resized score map."""

    def __init__(
        self,
        source: Labelled,
        count: int,
        rows: Axis,
        columns: Axis,
        *,
        part_elements: int = PART_ELEMENTS,
        blend_cost: float = BLEND_COST,
        judge: Judge | None = None,
    ) -> None:
        """Find the labels of all pixels; only pixels between differing neighbours need their `count` scores.

        `judge` decides which of them keep their labels.

        Raises:
            TooMixedError: so many pixels need their scores that resizing the whole map is faster.
        """
        self._source = source
        self._first_rows, self._first_columns = rows.neighbours[:, 0], columns.neighbours[:, 0]
        # The four neighbours of a pixel and their weights follow from its row [H, 4] and its column [W, 4].
        width = source.labels.shape[1]
        self._above_below = np.repeat(rows.neighbours * np.int32(width), 2, axis=1)
        self._left_right = np.tile(columns.neighbours, 2)
        self._down, self._across = np.repeat(rows.weights, 2, axis=1), np.tile(columns.weights, 2)
        mixed = _mixed(source.labels)
        if self._count(mixed) * (count + blend_cost) > len(rows.weights) * len(columns.weights) * count:
            raise TooMixedError
        self.labels = self._nearest(source.labels)
        if judge is not None:
            mixed = judge.cells(source.labels, mixed, self.labels)
        for pixels in _parts(self._nearest(mixed), count, part_elements):
            scores = _transposed(self._blends(pixels))
            best, labels = best_labels(scores)
            self.labels.reshape(-1)[pixels] = labels if judge is None else judge.pixels(scores, best, labels)

    def scores(self, pixels: Places) -> tuple[Tensor, Places]:
        """See `Labelled`. A pixel that is asked for several times is blended once."""
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

    def _count(self, cells: Chosen) -> int:
        """How many pixels of the target lie in the chosen `cells` [h, w], each between a pixel and the next ones."""
        height, width = cells.shape
        pixels = (
            np.bincount(self._first_rows, minlength=height) @ cells @ np.bincount(self._first_columns, minlength=width)
        )
        return int(pixels)

    def _nearest(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """`values` [h, w] of the source at the target's size: each pixel takes the value of its first neighbour."""
        return values.take(self._first_columns, axis=1).take(self._first_rows, axis=0)


def blended_labels(
    scores: ScoreMap,
    *,
    part_elements: int = PART_ELEMENTS,
    blend_cost: float = BLEND_COST,
    judge: Judge | None = None,
) -> Labels | None:
    """The labels [H, W] of a map that was resized once or more; None for any other map.

    A pixel's label is the first one with the highest score. The result is None, too, where resizing the whole map is
    faster, which is decided by `blend_cost`. `part_elements` bounds the memory taken, and changes no label. `judge`
    judges the labels of the last step that changes the size.
    """
    chain = resizing_steps(scores)
    if chain is None:
        return None
    source, steps = chain
    labelled: Labelled = Given(source.scores)
    try:
        for step in steps:
            _, height, width = step.source.shape
            labelled = Blended(
                labelled,
                len(source.scores),
                resized_axis(height, step.height, step.rule),
                resized_axis(width, step.width, step.rule),
                part_elements=part_elements,
                blend_cost=blend_cost,
                judge=judge if step is steps[-1] else None,
            )
    except TooMixedError:
        return None
    return labelled.labels


def best_labels(scores: Tensor) -> tuple[Tensor, Labels]:
    """The best score of each place and its label, from `scores` float32 [K, ...] with K up to 255.

    Returns the highest scores, float32 [...], and the first label that has each, uint8 [...].

    This is max pooling with a window of K x 1 over an image that has one channel for each place. It is faster than
    `max(dim=0)`: torch's pooling handles many channels at once where they lie side by side in memory, as they do here.
    """
    places = scores.reshape(1, len(scores), 1, -1).permute(0, 3, 1, 2)
    best, labels = F.max_pool2d(places, (len(scores), 1), return_indices=True)
    return best.view(scores.shape[1:]), labels.view(scores.shape[1:]).numpy().astype(np.uint8)


def _bags(places: Places, table: Tensor, weights: Shares) -> Tensor:
    """Weighted sums [N, K] of rows of `table` [M, K]: each adds the four rows in `places` [N, 4] times `weights`."""
    return F.embedding_bag(torch.from_numpy(places), table, per_sample_weights=torch.from_numpy(weights), mode="sum")


def _transposed(table: Tensor) -> Tensor:
    """`table` [N, K] -> [K, N]. OpenCV does it, because torch takes nine times as long."""
    return torch.from_numpy(cv2.transpose(table.numpy())).view(table.shape[1], table.shape[0])


def _mixed(labels: Labels) -> Chosen:
    """Whether a pixel of `labels` [H, W], the next one in its row and the two below them differ: [H, W]."""
    across = labels[:, 1:] != labels[:, :-1]
    mixed = np.zeros(labels.shape, dtype=np.bool_)
    mixed[:, :-1] = across
    mixed[:-1, :-1] |= across[1:]
    mixed[:-1] |= labels[1:] != labels[:-1]
    return mixed


def _parts(chosen: Chosen, count: int, elements: int) -> Iterator[Places]:
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
    """The distinct `values` in ascending order, and for each value its place among them.

    `np.unique` does the same, but sorts, which is slower.
    """
    least = values.min()
    local = values - least
    seen = np.zeros(local.max() + 1, dtype=np.bool_)
    seen[local.ravel()] = True
    distinct = np.flatnonzero(seen).astype(np.int32)
    return distinct + least, (np.cumsum(seen, dtype=np.int32) - 1).take(local)
