"""The softmax of a resized map, cell by cell where neighbouring pixels agree on their label.

A cell lies between four neighbouring pixels of the source. If they agree, the cell has one label `s`, and its softmax
is 1 / (1 + the sum of exp(d)), with a difference d between each other label's score and that of `s`. Along rows and
columns the differences are linear, so each exp(d) is convex. Hence in the whole cell

- the softmax is at least that of the lowest corner;
- it is at most what each label's lowest difference at any corner gives, taken together.

Where the threshold lies between these two, the cell is in doubt. It is cut into smaller ones, and only the pixels of
those that are still in doubt are computed.

    threshold 0.5:    0.9 . . . 0.8     above       0.4 . . . 0.3     below       0.7 . . . 0.6     in doubt
                       .         .                   .         .                   .         .
                      0.8 . . . 0.7                 0.4 . . . 0.4                 0.5 . . . 0.4

Where the corners differ, `blending` computes each pixel's scores, and its softmax is computed, too. A cell that is
below the threshold whichever label is the best needs none of that.

The unlabelled pixels are exact. Mean scores take a cell's softmax as a parabola through its corners and its centre.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lseg_serve.segmenter.masks.axes import Places, Shares, spans
from lseg_serve.segmenter.masks.blending import PART_ELEMENTS, Chosen, Labels, best_labels
from lseg_serve.segmenter.masks.confidence import UNLABELLED, Tally, softmax_at_zero
from lseg_serve.segmenter.masks.score_maps import ResizedScoreMap

# A cell in doubt is cut into this many parts along each side: as many as leave parts of some pixels.
_PARTS, _LEAST_PART = (4, 2, 1), 3
# With fewer pixels in a cell, computing each of them is faster.
_LEAST_CELL = 4


@dataclass(frozen=True)
class Cells:
    """N grids of Y x X cells. Neighbouring cells of a grid share their corners."""

    differences: Tensor  # [K, Y + 1, X + 1, N]: each label's score less that of the cell's label, at the corners
    rows: Places  # [Y, N]: in which span of the rows a cell lies
    columns: Places  # [X, N]: in which span of the columns

    def chosen(self, which: Chosen, most: int | None = None) -> Iterator[Cells]:
        """The cells `which` [Y, X, N], each as a grid of its own, at most `most` at a time."""
        _, width, grids = which.shape
        flat = self.differences.flatten(1)
        places = np.flatnonzero(which)
        most = most or max(1, len(places))
        for start in range(0, len(places), most):
            line, grid = np.divmod(places[start : start + most], grids)
            row, column = np.divmod(line, width)
            right, below = grids, (width + 1) * grids
            first = row * below + column * right + grid
            corners = np.concatenate([first, first + right, first + below, first + below + right])
            differences = flat.index_select(1, torch.from_numpy(corners)).view(len(flat), 2, 2, -1)
            yield Cells(differences, self.rows[row, grid][None], self.columns[column, grid][None])

    def cut(self, parts: int) -> Cells:
        """Cells [1, 1, N], each cut into `parts` x `parts`."""
        steps = torch.linspace(0, 1, parts + 1)[:, None]
        inner = np.arange(parts, dtype=np.int32)[:, None]
        differences = blended_corners(self.differences, steps, steps)
        return Cells(differences, self.rows * parts + inner, self.columns * parts + inner)


def blended_corners(corners: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Between `corners` [K, 2, 2, N], at `down` [P, N] and `across` [Q, N] from 0 to 1: [K, P, Q, N]."""
    sides = torch.lerp(corners[:, :1], corners[:, 1:], down[:, None])
    return torch.lerp(sides[:, :, :1], sides[:, :, 1:], across)


def worth_cells(step: ResizedScoreMap) -> bool:
    """Whether judging cells is faster than judging pixels."""
    _, height, width = step.source.shape
    return step.height * step.width >= _LEAST_CELL * height * width


class CellJudge:
    """Judges a map that `step` resized. Pixels whose softmax is below the tally's threshold become `UNLABELLED`."""

    def __init__(self, step: ResizedScoreMap, tally: Tally, *, part_elements: int = PART_ELEMENTS) -> None:
        """`part_elements` bounds the memory taken."""
        self._step, self._tally, self._elements = step, tally, part_elements

    def pixels(self, scores: Tensor, best: Tensor, labels: Labels) -> Labels:
        """See `blending.Judge`."""
        return self._tally.judged(scores, best, labels)

    def cells(self, labels: Labels, mixed: Chosen, mask: Labels) -> Chosen:
        """See `blending.Judge`."""
        count, height, width = self._step.source.shape
        sweep = _Sweep(self._step, self._tally, labels, mask, self._elements)
        strip = max(1, self._elements // (count * (width + 1)))
        below = np.zeros_like(mixed)
        for top in range(0, height, strip):
            rows = np.arange(top, min(top + strip, height), dtype=np.int32)
            # The last row of cells, and the last column, end where they begin.
            needed = np.append(rows, rows[-1] + 1).clip(max=height - 1)
            scores = self._step.source.rows(torch.from_numpy(needed).long())
            scores = torch.cat([scores, scores[:, :, -1:]], dim=2)
            differences = self._tally.differences(scores, best_labels(scores)[0])[..., None]
            cells = Cells(differences, rows[:, None], np.arange(width, dtype=np.int32)[:, None])
            below[rows] = sweep.judge(cells, ~mixed[rows, :, None], 1)[..., 0]
            if self._tally.threshold > 0:
                below[rows] |= self._mixed_below(cells, mixed[rows, :, None])[..., 0]
        sweep.clear(below)
        return mixed & ~below

    def _mixed_below(self, cells: Cells, mixed: Chosen) -> Chosen:
        """Which of the `mixed` cells [Y, X, N] are below the threshold, whichever label is a pixel's best.

        In a cell no label's softmax is above high / (high + the sum of the others' low), where high and low are its
        highest and lowest softmax at the corners.
        """
        below = np.zeros_like(mixed)
        for some in cells.chosen(mixed):
            corners = some.differences.softmax(dim=0)
            high, low = corners.amax(dim=(1, 2)), corners.amin(dim=(1, 2))
            most = (high / (high + low.sum(dim=0) - low)).amax(dim=0)
            # What rounding may add is far below this.
            below[mixed] = most.numpy() < self._tally.threshold - 1e-5
        return below


class _Sweep:
    """Goes through the cells of one map, cuts those in doubt, writes to the mask and counts in the tally."""

    def __init__(self, step: ResizedScoreMap, tally: Tally, labels: Labels, mask: Labels, elements: int) -> None:
        self._tally, self._labels, self._mask, self._elements = tally, labels, mask, elements
        _, height, width = step.source.shape
        side = min(step.height / height, step.width / width)
        self._parts = next((parts for parts in _PARTS if side >= parts * _LEAST_PART), 1)
        self._axes = {
            parts: (spans(height, step.height, step.rule, parts), spans(width, step.width, step.rule, parts))
            for parts in (1, self._parts)
        }

    def judge(self, cells: Cells, which: Chosen, parts: int) -> Chosen:
        """Judge the cells `which` [Y, X, N], each one of `parts` x `parts` of a source's. Returns those below."""
        down, across = self._axes[parts]
        pixels = down.counts[cells.rows][:, None] * across.counts[cells.columns]
        above, below = which & (pixels > 0), np.zeros_like(which)
        confidence = softmax_at_zero(cells.differences)
        if self._tally.threshold > 0:
            judged = above
            above = judged & (_of_corners(confidence, torch.minimum).numpy() >= self._tally.threshold)
            lowest = _of_corners(cells.differences, torch.minimum)
            highest = softmax_at_zero(lowest, in_place=True).numpy()
            below = judged & (highest < self._tally.threshold)
            self._judge_doubtful(cells, judged & ~above & ~below, parts)
        if self._tally.with_scores:
            sums = self._sums(cells, confidence, parts)
            self._tally.add(self._labels_of(cells, parts)[above], sums[above], pixels[above].astype(np.float32))
        return below

    def clear(self, below: Chosen) -> None:
        """Make the pixels of the cells `below` [h, w] unlabelled."""
        down, across = self._axes[1]
        for row in np.flatnonzero(below.any(axis=1)):
            line = np.repeat(below[row] * np.uint8(UNLABELLED), across.counts)
            self._mask[down.starts[row] : down.starts[row + 1]] |= line

    def _judge_doubtful(self, cells: Cells, doubtful: Chosen, parts: int) -> None:
        """Judge cells by parts of them, or by pixels where they are as small as the parts."""
        down, across = self._axes[parts]
        cut = parts != self._parts
        each = (self._parts + 1) ** 2 if cut else int(down.counts.max() * across.counts.max())
        for some in cells.chosen(doubtful, max(1, self._elements // (len(cells.differences) * each))):
            if cut:
                self._judge_parts(some.cut(self._parts))
            else:
                self._judge_pixels(some)

    def _judge_parts(self, cells: Cells) -> None:
        """Judge all parts of cells that are cut."""
        everything = np.ones((*cells.rows.shape[:1], *cells.columns.shape), dtype=np.bool_)
        below = self.judge(cells, everything, self._parts)
        row, column, grid = below.nonzero()
        self._mask.reshape(-1)[self._pixels(cells.rows[row, grid], cells.columns[column, grid])[0]] = UNLABELLED

    def _judge_pixels(self, cells: Cells) -> None:
        """Judge each pixel of cells [1, 1, N]."""
        down, across = self._axes[self._parts]
        places, rows, columns = self._pixels(cells.rows[0], cells.columns[0])
        where = (torch.from_numpy(down.places[rows]), torch.from_numpy(across.places[columns]))
        confidence = softmax_at_zero(blended_corners(cells.differences, *where), in_place=True).numpy()
        below = confidence < self._tally.threshold
        self._mask.reshape(-1)[places[below]] = UNLABELLED
        if self._tally.with_scores:
            sure = ~below
            sure[1:] &= (rows[1:] > rows[:-1])[:, None]  # a row that comes twice counts once
            sure[:, 1:] &= columns[1:] > columns[:-1]
            self._tally.add(np.broadcast_to(self._labels_of(cells, self._parts), sure.shape)[sure], confidence[sure])

    def _pixels(self, rows: Places, columns: Places) -> tuple[Places, Places, Places]:
        """Of parts in the spans `rows` [N] and `columns` [N]: their pixels [P, Q, N], rows [P, N] and columns [Q, N].

        A part of fewer than P x Q pixels has its last row and its last column several times.
        """
        down, across = self._axes[self._parts]
        inner_rows, inner_columns = down.within(rows), across.within(columns)
        return inner_rows[:, None] * np.int32(self._mask.shape[1]) + inner_columns, inner_rows, inner_columns

    def _labels_of(self, cells: Cells, parts: int) -> Labels:
        return self._labels[cells.rows[:, None] // parts, cells.columns // parts]

    def _sums(self, cells: Cells, confidence: Tensor, parts: int) -> Shares:
        """The sum of the softmax over each cell's pixels [Y, X, N], from its `confidence` at the corners."""
        down, across = self._axes[parts]
        rows, columns = cells.rows[:, None], cells.columns
        corners = confidence.numpy()
        sides = across.near[columns] * corners[:, :-1] + across.far[columns] * corners[:, 1:]
        bow = softmax_at_zero(_of_corners(cells.differences, torch.add).div_(4), in_place=True).numpy()
        bow -= _of_corners(confidence, torch.add).numpy() / 4
        bow *= down.counts[rows] * across.bow[columns] + down.bow[rows] * across.counts[columns]
        sums: Shares = down.near[rows] * sides[:-1] + down.far[rows] * sides[1:] + bow
        return sums


def _of_corners(values: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`values` [..., Y + 1, X + 1, N] at the corners of cells, those of each cell combined: [..., Y, X, N]."""
    sides = combine(values[..., :-1, :, :], values[..., 1:, :, :])
    return combine(sides[..., :-1, :], sides[..., 1:, :])
