"""Polygons of a region as GeoJSON nests them: shells apart from their holes, along the edges of the pixels.

A region of pixels has outlines of horizontal and vertical edges alone. Its corners are therefore joined in pairs along
their rows and along their columns, and each outline is walked from pair to pair. Coordinates are pixel edges: the first
pixel lies between 0 and 1, so that the area of a polygon is the number of its pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.bool_]
Ring = list[list[int]]  # [x, y] in pixels; the last is the first once more
Polygon = list[Ring]  # the shell, then its holes

TOLERANCE = 0.75  # pixels: the default
MOST_TOLERANCE = 100.0
# An outline is moved by no more than this share of its size, the square root of its area: small ones stay as they are.
_SHARE_OF_SIZE = 0.01
# The least step of an outline is one pixel: a line that leaves its corners out leaves them by half of it.
_LEAST = 0.4


def polygons(pixels: Bits, tolerance: float = TOLERANCE) -> list[Polygon]:
    """Polygons of `pixels` [H, W]: one for each part, as the coordinates of a GeoJSON MultiPolygon.

    Parts are connected along edges; pixels that touch at a corner alone are two parts. A shell runs clockwise as the
    image is seen, a hole the other way. At tolerance 0 they are exactly the pixels, and valid: no ring crosses or
    touches itself, and rings touch each other at single points only.

    Args:
        pixels: which belong to the region.
        tolerance: pixels by which a simplified outline may leave the exact one.
    """
    window = _window(pixels)
    if window is None:
        return []
    rows, columns = window
    cut = np.ascontiguousarray(pixels[rows, columns])
    _, part_of = cv2.connectedComponents(cut.view(np.uint8), connectivity=4)
    shells: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    for ring in _rings(cut):
        area = _area(ring)
        part = int(part_of[_pixel_beside(ring)])
        points = [[x + columns.start, y + rows.start] for x, y in _simplified(ring, tolerance, abs(area))]
        points.append(points[0])
        if area > 0:
            shells[part] = points
        else:
            holes.setdefault(part, []).append(points)
    return [[shell, *holes.get(part, [])] for part, shell in shells.items()]


def _window(pixels: Bits) -> tuple[slice, slice] | None:
    """Rows and columns of the box around all pixels that are set; None where none is."""
    rows = np.flatnonzero(pixels.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(pixels.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _rings(pixels: Bits) -> Iterator[Ring]:
    """Each outline of `pixels` once, with the region to the right of one who walks it; none touches itself."""
    padded = np.pad(pixels, 1)
    above_left, above_right = padded[:-1, :-1], padded[:-1, 1:]
    below_left, below_right = padded[1:, :-1], padded[1:, 1:]
    diagonal = (above_left == below_right) & (above_right == below_left) & (above_left != above_right)
    y, x = np.nonzero((above_left ^ above_right ^ below_left ^ below_right) | diagonal)
    # Where two pixels touch at a corner alone, four edges meet: two corners in one place.
    copies = 1 + diagonal[y, x]
    y, x, is_double = np.repeat(y, copies), np.repeat(x, copies), np.repeat(copies == 2, copies)
    is_second = is_double.copy()
    is_second[np.cumsum(copies)[copies == 2] - 2] = False
    # In its row the first of the two is joined to the left. In its column it is joined upwards where the region is
    # above and to the left, else downwards: so each pixel keeps its own corner.
    order = np.lexsort((is_second ^ (is_double & above_right[y, x]), y, x))
    beside_in_column = np.empty(len(y), dtype=np.int64)
    beside_in_column[order[::2]], beside_in_column[order[1::2]] = order[1::2], order[::2]
    corners, may_touch = np.stack([x, y], axis=1).tolist(), is_double.tolist()
    for path in _paths(beside_in_column.tolist(), below_right[y, x].tolist()):
        ring = [corners[at] for at in path]
        yield from _parted(ring, [place for place, at in enumerate(path) if may_touch[at]])


def _paths(beside_in_column: list[int], is_above_region: list[bool]) -> Iterator[list[int]]:
    """The corners of each outline, one after the other, by their numbers in the order of their rows.

    The partner of corner `i` in its row is `i ^ 1`. The first corner of an outline is its top left one: a shell has the
    region below it, and is walked to the right first; a hole has it above, and is walked downwards first.
    """
    is_left = bytearray(b"\x01") * len(beside_in_column)
    for start, to_the_right in enumerate(is_above_region):
        at = start
        path: list[int] = []
        while is_left[at]:
            other = at ^ 1 if to_the_right else beside_in_column[at]
            path += (at, other)
            is_left[at] = is_left[other] = 0
            at = beside_in_column[other] if to_the_right else other ^ 1
        if path:
            yield path


def _parted(outline: Ring, doubles: list[int]) -> Iterator[Ring]:
    """An outline as rings that do not touch themselves; `doubles` are the corners that may share a place."""
    ring: Ring = []
    place_of: dict[tuple[int, int], int] = {}  # in `ring`
    begin = 0
    for at in doubles:
        ring += outline[begin:at]
        begin = at
        x, y = outline[at]
        first = place_of.get((x, y))
        if first is not None:
            yield ring[first:]
            del ring[first:]
            place_of = {corner: place for corner, place in place_of.items() if place < first}
        place_of[x, y] = len(ring)
    yield ring + outline[begin:]


def _area(ring: Ring) -> int:
    """Pixels within `ring`, whose edges are horizontal and vertical in turn: above 0 where it is walked clockwise."""
    area = 0
    last_x, last_y = ring[-1]
    for x, y in ring:
        area += last_x * (y - last_y)
        last_x, last_y = x, y
    return area


def _pixel_beside(ring: Ring) -> tuple[int, int]:
    """Row and column of the region's pixel at the first edge of a ring, to the right of one who walks it."""
    (x, y), (next_x, next_y) = ring[:2]
    if y == next_y:
        return (y, x) if next_x > x else (y - 1, x - 1)
    return (y, x - 1) if next_y > y else (y - 1, x)


def _simplified(ring: Ring, tolerance: float, area: int) -> Ring:
    """`ring` with fewer points, by Douglas and Peucker."""
    tolerance = min(tolerance, _SHARE_OF_SIZE * math.sqrt(area))
    if tolerance < _LEAST:
        return ring
    fewer: Ring = cv2.approxPolyDP(np.array(ring, np.int32)[:, None], tolerance, closed=True)[:, 0].tolist()
    return fewer
