"""Outlines of a region as polygons, for tools that draw polygons without holes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]


def rings(pixels: Bits, tolerance: float) -> list[Points]:
    """The outer outlines of the pieces of `pixels` [H, W], the largest first.

    A ring runs along the edges of pixels: a single pixel at the top left is 0, 0 to 1, 1. Holes are not among them, so
    a polygon covers what lies in the holes of its piece.

    Args:
        pixels: True where the region is.
        tolerance: how far a simplified ring may lie from the exact one, in pixels; 0 keeps every corner.

    Returns:
        Arrays of x, y [N, 2] in pixels, N of 3 or more, without the first point again at the end.
    """
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    if not rows.size:
        return []
    top, left = rows[0], columns[0]
    cropped = pixels[top : rows[-1] + 1, left : columns[-1] + 1]
    contours, _ = cv2.findContours(_corners(cropped), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = [_simplified(contour, tolerance)[:, 0] / 2 + (left, top) for contour in contours]
    return sorted(found, key=lambda ring: -cv2.contourArea(ring.astype(np.float32)))


def _corners(pixels: Bits) -> npt.NDArray[np.uint8]:
    """An image whose border pixels lie on the corners of `pixels`: pixel x covers columns 2x to 2x + 2."""
    height, width = pixels.shape
    doubled = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
    doubled[:-1, :-1] = np.repeat(np.repeat(pixels, 2, 0), 2, 1)
    doubled[1:] |= doubled[:-1]
    doubled[:, 1:] |= doubled[:, :-1]
    return doubled


def _simplified(contour: npt.NDArray[np.int32], tolerance: float) -> npt.NDArray[np.int32]:
    """`contour` with fewer points, unless a piece as small as the tolerance would collapse."""
    simple: npt.NDArray[np.int32] = cv2.approxPolyDP(contour, 2 * tolerance, closed=True)
    return simple if len(simple) >= 3 else contour
