"""Where each label is in a mask: its area and its box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    areas = np.bincount(mask.ravel(), minlength=256)
    rows = _extents(mask, count)
    columns = _extents(mask.T, count)
    regions = []
    for index in range(count):
        box = None
        if areas[index]:
            (top, bottom), (left, right) = rows[index], columns[index]
            box = (left, top, right - left + 1, bottom - top + 1)
        regions.append(Region(index, int(areas[index]), box))
    return regions


def _extents(mask: Pixels, count: int) -> list[tuple[int, int]]:
    """First and last row of `mask` in which each label occurs; (0, 0) for one that does not."""
    present = np.zeros((len(mask), 256), dtype=bool)
    for row, indices in zip(present, mask, strict=True):
        row[indices] = True
    extents = []
    for index in range(count):
        found = np.flatnonzero(present[:, index])
        extents.append((int(found[0]), int(found[-1])) if len(found) else (0, 0))
    return extents
