"""The network's last doubling, in NumPy: bilinear, with aligned corners."""

from __future__ import annotations

import numpy as np

from lseg_serve.embeddings.sampling import Floats, Taps, corner_places, neighbours

_LEAST_SQUARE = 1e-24  # of torch's normalize, which divides by at least 1e-12


def doubling_taps(length: int) -> Taps:
    """The pairs of `length` pixels that each of twice as many is blended of."""
    return neighbours(corner_places(np.arange(2 * length), length, 2 * length), length)


def resized(maps: Floats, rows: Taps, columns: Taps) -> Floats:
    """`maps` [K, h, w] at the size of `rows` and `columns`: float32 [K, H, W]."""
    down = sum_of_taps(maps, rows, axis=1)
    return sum_of_taps(down, columns, axis=2)


def sum_of_taps(maps: Floats, taps: Taps, axis: int) -> Floats:
    """`maps` [K, h, w] with the pixels of `taps` along one axis in the place of its own."""
    shape = [1, 1, 1]
    shape[axis] = -1
    total = maps.take(taps.index[:, 0], axis=axis) * taps.weights[:, 0].reshape(shape)
    for tap in range(1, taps.index.shape[1]):
        total += maps.take(taps.index[:, tap], axis=axis) * taps.weights[:, tap].reshape(shape)
    return total


def doubled(maps: Floats) -> Floats:
    """`maps` [K, h, w] at twice their size: float32 [K, 2h, 2w]."""
    _, height, width = maps.shape
    return resized(maps, doubling_taps(height), doubling_taps(width))


def inverse_lengths(vectors: Floats) -> Floats:
    """1 / length of each vector of `vectors` [E, h, w] once they are doubled: float32 [2h, 2w]."""
    _, height, width = vectors.shape
    rows, columns = doubling_taps(height), doubling_taps(width)
    squares = np.empty((2 * height, 2 * width), dtype=np.float32)
    for row in range(2 * height):  # one row at a time: the doubled map is four times the map
        own = Taps(rows.index[row : row + 1], rows.weights[row : row + 1])
        line = resized(vectors, own, columns)[:, 0]
        squares[row] = np.einsum("ew,ew->w", line, line)
    return np.asarray(1 / np.sqrt(np.maximum(squares, _LEAST_SQUARE)), dtype=np.float32)
