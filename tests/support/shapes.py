"""Regions of pixels of every kind: with holes and islands, at the rim, of lines and points, ragged."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

Bits = npt.NDArray[np.bool_]


def blobs(height: int = 60, width: int = 90, seed: int = 0) -> Bits:
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    smooth: Bits = cv2.GaussianBlur(noise, (0, 0), 3) > 0.5
    return smooth


def _nested() -> Bits:
    """A square with a hole in it, an island in the hole, and a hole in the island."""
    bits = np.zeros((50, 60), dtype=bool)
    for margin in range(4, 22, 5):
        bits[margin:-margin, margin:-margin] ^= True
    return bits


def _of_pixels(*places: tuple[int, int]) -> Bits:
    bits = np.zeros((12, 17), dtype=bool)
    bits[tuple(np.transpose(places))] = True
    return bits


SHAPES: dict[str, Bits] = {
    "blobs": blobs(),
    "nested holes": _nested(),
    "nothing": np.zeros((12, 17), dtype=bool),
    "everything": np.ones((12, 17), dtype=bool),
    "one pixel": _of_pixels((5, 6)),
    "corners": _of_pixels((0, 0), (0, 16), (11, 0), (11, 16)),
    "a diagonal": np.eye(15, dtype=bool),
    "a line": _of_pixels(*((4, column) for column in range(17))),
    "a column": _of_pixels(*((row, 16) for row in range(12))),
    "a 1x1 image": np.ones((1, 1), dtype=bool),
    "more than a run can hold": np.ones((300, 301), dtype=bool),
    "chequers": np.indices((40, 40)).sum(axis=0) % 2 == 0,
    "noise": np.random.default_rng(4).random((41, 37)) > 0.5,
}
every_shape = pytest.mark.parametrize("bits", SHAPES.values(), ids=SHAPES.keys())
