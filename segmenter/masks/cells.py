"""The softmax of a resized map, cell by cell where neighbouring pixels agree on their label.

A cell lies between four neighbouring pixels of the source. `blending` computes the scores of the pixels between
neighbours that differ, and these are judged one by one. A cell whose four corners agree has one label `s`, and its
softmax is 1 / (1 + the sum of exp(d)), with a difference d between each other label's score and that of s. Along rows
and columns the differences are linear, so each exp(d) is convex. Hence in the whole cell

- the softmax is at least that of the lowest corner;
- it is at most what each label's lowest difference at any corner gives, taken together.

Where the threshold lies between these two, the cell is in doubt. It is cut into smaller ones, and only the pixels of
those that are still in doubt are computed.

    threshold 0.5:    0.9 . . . 0.8     above       0.4 . . . 0.3     below       0.7 . . . 0.6     in doubt
                       .         .                   .         .                   .         .
                      0.8 . . . 0.7                 0.4 . . . 0.4                 0.5 . . . 0.4

The unlabelled pixels are exact. Mean scores take a cell's softmax as a parabola through its corners and its centre.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lseg_serve.segmenter.masks.axes import Places, spans
from lseg_serve.segmenter.masks.blending import PART_ELEMENTS, Labels, best_labels
from lseg_serve.segmenter.masks.confidence import UNLABELLED, Tally, softmax_at_zero
from lseg_serve.segmenter.masks.score_maps import ResizedScoreMap

# A cell in doubt is cut into this many parts along each side: as many as leave parts of some pixels.
_PARTS, _LEAST_PART = (4, 2, 1), 3
# With fewer pixels in a cell, computing each of them is faster.
_LEAST_CELL = 4


@dataclass(frozen=True)
class Cells:
    """N grids of Y x X cells. Neighbouring cells of a grid share their corners."""

    differences: Tensor  # [K, Y + 1, X + 1, N]: each label's score less that of the cells' own label, at the corners
    labels: Labels  # the cells' own labels; this and the next two can be broadcast to [Y, X, N]
    rows: Places  # in which span of the rows a cell lies
    columns: Places  # in which span of the columns

    def chosen(self, which: npt.NDArray[np.bool_], most: int) -> Iterator[Cells]:
        """The cells `which` [Y, X, N], each as a grid of its own, at most `most` at a time."""
        height, width, grids = which.shape
        flat = self.differences.flatten(1)
        places = np.flatnonzero(which)
        for start in range(0, len(places), most):
            row, column, grid = np.unravel_index(places[start : start + most], which.shape)
            corners = [((row + down) * (width + 1) + column + right) * grids + grid for down in (0, 1) for right in (0, 1)]
            differences = flat.index_select(1, torch.from_numpy(np.concatenate(corners)))
            labels, rows, columns = (
                np.broadcast_to(values, which.shape)[row, column, grid] for values in (self.labels, self.rows, self.columns)
            )
            yield Cells(differences.view(len(flat), 2, 2, -1), labels, rows, columns)

    def cut(self, parts: int) -> Cells:
        """Cells [1, 1, N], each cut into `parts` x `parts`."""
        steps = torch.linspace(0, 1, parts + 1)[:, None]
        inner = np.arange(parts, dtype=np.int32)[:, None]
        rows, columns = self.rows * parts + inner[:, None], self.columns * parts + inner
        return Cells(blended_corners(self.differences, steps, steps), self.labels, rows, columns)


def blended_corners(corners: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Between `corners` [K, 2, 2, N], at `down` [P, N] and `across` [Q, N] from 0 to 1: [K, P, Q, N]."""
    sides = torch.lerp(corners[:, :1], corners[:, 1:], down[:, None])
    return torch.lerp(sides[:, :, :1], sides[:, :, 1:], across)


def worth_cells(step: ResizedScoreMap) -> bool:
    """Whether judging cells is faster than judging pixels."""
    _, height, width = step.source.shape
    return step.height * step.width >= _LEAST_CELL * height * width


class CellJudge:
    """Judges the pixels of cells, of a map that `step` resized, and turns those below the threshold to `UNLABELLED`."""

    def __init__(
        self, step: ResizedScoreMap, mask: Labels, tally: Tally, *, part_elements: int = PART_ELEMENTS
    ) -> None:
        """`mask` [H, W] is written to. `part_elements` bounds the memory taken."""
        self._step, self._mask, self._tally, self._elements = step, mask, tally, part_elements
        _, height, width = step.source.shape
        side = min(step.height / height, step.width / width)
        self._parts = next((parts for parts in _PARTS if side >= parts * _LEAST_PART), 1)
        self._axes = {
            parts: (spans(height, step.height, step.rule, parts), spans(width, step.width, step.rule, parts))
            for parts in {1, self._parts}
        }

    def judge(self, source_labels: Labels, mixed: npt.NDArray[np.bool_]) -> None:
        """Judge all cells but the `mixed` ones [h, w]. `source_labels` [h, w] are those of their upper left corners."""
        count, height, width = self._step.source.shape
        strip = max(1, self._elements // (count * (width + 1)))
        columns = np.arange(width, dtype=np.int32)[:, None]
        for top in range(0, height, strip):
            rows = np.arange(top, min(top + strip, height), dtype=np.int32)
            # The last row of cells, and the last column, end where they begin.
            needed = np.append(rows, rows[-1] + 1).clip(max=height - 1)
            scores = self._step.source.rows(torch.from_numpy(needed).long())
            scores = torch.cat([scores, scores[:, :, -1:]], dim=2)
            differences = self._tally.differences(scores, best_labels(scores)[0])[..., None]
            cells = Cells(differences, source_labels[rows, :, None], rows[:, None, None], columns)
            below = self._judge(cells, ~mixed[rows, :, None], 1)[:, :, 0]
            down, across = self._axes[1]
            for row in np.flatnonzero(below.any(axis=1)) if self._tally.threshold > 0 else ():
                line = np.repeat(below[row].astype(np.uint8) * np.uint8(UNLABELLED), across.counts)
                self._mask[down.starts[top + row] : down.starts[top + row + 1]] |= line

    def _judge(self, cells: Cells, which: npt.NDArray[np.bool_], parts: int) -> npt.NDArray[np.bool_]:
        """Judge the cells `which` [Y, X, N] and count those above the threshold. Returns those below it, unwritten."""
        down, across = self._axes[parts]
        pixels = down.counts[cells.rows] * across.counts[cells.columns]
        which = which & (pixels > 0)
        confidence = softmax_at_zero(cells.differences)
        above, below = which, np.zeros_like(which)
        if self._tally.threshold > 0:
            above = which & (_of_corners(confidence, torch.minimum).numpy() >= self._tally.threshold)
            highest = softmax_at_zero(_of_corners(cells.differences, torch.minimum)).numpy()
            below = which & ~above & (highest < self._tally.threshold)
            self._judge_doubtful(cells, which & ~above & ~below, parts)
        if self._tally.with_scores:
            sums = self._sums(cells, confidence, parts)
            labels = np.broadcast_to(cells.labels, which.shape)
            self._tally.add(labels[above], sums[above], pixels[above].astype(np.float32))
        return below

    def _judge_doubtful(self, cells: Cells, doubtful: npt.NDArray[np.bool_], parts: int) -> None:
        """Judge cells by parts of them, or by pixels where they are as small as the parts."""
        count = len(cells.differences)
        down, across = self._axes[parts]
        if parts == self._parts:
            each = int(down.counts.max() * across.counts.max())
            for some in cells.chosen(doubtful, max(1, self._elements // (count * each))):
                self._judge_pixels(some)
            return
        for some in cells.chosen(doubtful, max(1, self._elements // (count * (self._parts + 1) ** 2))):
            cut = some.cut(self._parts)
            below = self._judge(cut, np.ones((self._parts, self._parts, len(some.rows)), dtype=np.bool_), self._parts)
            for clear in cut.chosen(below, len(some.rows)):
                self._mask.reshape(-1)[self._pixels(clear)[0]] = UNLABELLED

    def _judge_pixels(self, cells: Cells) -> None:
        """Judge each pixel of cells [1, 1, N]."""
        down, across = self._axes[self._parts]
        places, rows, columns = self._pixels(cells)
        where = (torch.from_numpy(down.places[rows]), torch.from_numpy(across.places[columns]))
        confidence = softmax_at_zero(blended_corners(cells.differences, *where)).numpy()
        below = confidence < self._tally.threshold
        self._mask.reshape(-1)[places[below]] = UNLABELLED
        if self._tally.with_scores:
            sure = ~below
            sure[1:] &= (rows[1:] > rows[:-1])[:, None]  # a row that comes twice counts once
            sure[:, 1:] &= columns[1:] > columns[:-1]
            self._tally.add(np.broadcast_to(cells.labels, sure.shape)[sure], confidence[sure])

    def _pixels(self, cells: Cells) -> tuple[Places, Places, Places]:
        """Of cells [1, 1, N], the pixels' places in the mask [P, Q, N], their rows [P, N] and their columns [Q, N].

        Smaller cells than P x Q have their last row and column several times.
        """
        down, across = self._axes[self._parts]
        rows, columns = down.within(cells.rows), across.within(cells.columns)
        return rows[:, None] * np.int32(self._step.width) + columns, rows, columns

    def _sums(self, cells: Cells, confidence: Tensor, parts: int) -> npt.NDArray[np.float32]:
        """The sum of the softmax over each cell's pixels [Y, X, N], from that of the corners `confidence`."""
        down, across = self._axes[parts]
        corners = confidence.numpy()
        rows, columns = cells.rows, cells.columns
        upper = across.near[columns] * corners[:-1, :-1] + across.far[columns] * corners[:-1, 1:]
        lower = across.near[columns] * corners[1:, :-1] + across.far[columns] * corners[1:, 1:]
        centre = softmax_at_zero(_of_corners(cells.differences, torch.add).div_(4)).numpy()
        centre -= _of_corners(confidence, torch.add).numpy() / 4
        centre *= down.counts[rows] * across.bow[columns] + down.bow[rows] * across.counts[columns]
        return down.near[rows] * upper + down.far[rows] * lower + centre


def _of_corners(values: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`values` [..., Y + 1, X + 1, N] at the corners of cells, those of each cell combined: [..., Y, X, N]."""
    sides = combine(values[..., :-1, :, :], values[..., 1:, :, :])
    return combine(sides[..., :-1, :], sides[..., 1:, :])
