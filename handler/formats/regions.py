"""Where each label is in a mask: its area and its box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lseg_serve.handler.formats.runs import Runs
from lseg_serve.segmenter import Pixels

Box = tuple[int, int, int, int]  # left, top, width, height, in pixels, as COCO has it


@dataclass(frozen=True)
class Region:
    """The pixels of one label."""

    index: int
    area: int  # pixels
    box: Box | None  # None where the label has no pixel


def find_regions(mask: Pixels, count: int) -> list[Region]:
    """The region of each of `count` labels in `mask` [H, W], in the order of their indices."""
    return regions_of(Runs.of(mask), count)


def regions_of(runs: Runs, count: int) -> list[Region]:
    """The region of each of `count` labels in the mask of the `runs`, in the order of their indices."""
    return [_region(runs, index) for index in range(count)]


def _region(runs: Runs, index: int) -> Region:
    starts, ends = (places.astype(np.int64) for places in runs.of_label(index))
    if not len(starts):
        return Region(index, 0, None)
    (left, top), (right, bottom) = np.divmod(starts, runs.height), np.divmod(ends - 1, runs.height)
    if (left != right).any():  # a run that goes on in the next column has the last row and the first
        highest, lowest = 0, runs.height - 1
    else:
        highest, lowest = int(top.min()), int(bottom.max())
    width, height = int(right[-1] - left[0]) + 1, lowest - highest + 1
    return Region(index, int((ends - starts).sum()), (int(left[0]), highest, width, height))
