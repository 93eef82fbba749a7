"""Where a place of an image lies in a map of embeddings, and which of the map's vectors are blended there.

The network's map has a quarter of its input's size. It is doubled, each vector is brought to unit length, and the
result, at half of the input's size, is resized to the input and from there to the image. All these resizes are
bilinear, so the vector at any place is a weighted sum of vectors of the map itself. The weights need the lengths at
half size, and nothing else that is larger than the map.

Resizes work on each axis alone. A place's share of each axis is three neighbouring pixels at half size (`Taps`), which
lie among three pixels of the map. So nine vectors are blended for each place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.float64]  # along one axis, in pixels; 0 is the centre of the first
Indices = npt.NDArray[np.int64]

# Vectors are blended in parts of this many elements, 16 MB of float32.
_PART_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class Taps:
    """For N places along one axis, the pixels that are blended and their weights."""

    index: Indices  # [N, T]
    weights: Floats  # [N, T]


@dataclass(frozen=True)
class Blend:
    """For N places of an image, the vectors of a map that are blended, numbered row by row, and their weights."""

    index: Indices  # [N, T]
    weights: Floats  # [N, T]


def neighbours(places: Places, length: int) -> Taps:
    """The two of `length` pixels around each of `places` [N], which lie within 0..length - 1."""
    first = np.floor(places).astype(np.int64)
    share = (places - first).astype(np.float32)
    index = np.stack([first, np.minimum(first + 1, length - 1)], axis=1)
    return Taps(index, np.stack([1 - share, share], axis=1))


def corner_places(places: Places | Indices, source: int, target: int) -> Places:
    """Where pixels of an axis of `target` pixels lie among `source` pixels, the corner pixels aligned."""
    return np.asarray(places, dtype=np.float64) * ((source - 1) / (target - 1) if target > 1 else 0.0)


def centre_places(places: Places, source: int, target: int) -> Places:
    """Where pixels of an axis of `target` pixels lie among `source` pixels, pixel centres aligned; ends are kept."""
    moved = (np.asarray(places, dtype=np.float64) + 0.5) * (source / target) - 0.5
    return moved.clip(0, source - 1)


def half_size_taps(inputs: Taps, length: int) -> Taps:
    """The pixels at half size under `inputs`, pairs of neighbours among the `length` pixels of the network's input."""
    half = length // 2
    under = neighbours(corner_places(inputs.index.ravel(), half, length), half)
    starts, shares = under.index[:, 0].reshape(-1, 2), under.weights.reshape(-1, 2, 2)
    return _gathered(starts, shares * inputs.weights[:, :, None], half)


def _gathered(starts: Indices, weights: Floats, length: int) -> Taps:
    """One row of three taps [N, 3] of the pairs that begin at `starts` [N, 2] and have `weights` [N, 2, 2]."""
    first = starts.min(axis=1)
    total = np.zeros((len(first), 3), dtype=np.float32)
    rows = np.arange(len(first))
    for pair in (0, 1):
        for tap in (0, 1):
            total[rows, starts[:, pair] - first + tap] += weights[:, pair, tap]
    return Taps(np.minimum(first[:, None] + np.arange(3), length - 1), total)


def doubled_blend(rows: Taps, columns: Taps, inverse_lengths: Floats) -> Blend:
    """The vectors of a map before its doubling [h, w] under `rows` and `columns` [N, 3] of the doubled one.

    `inverse_lengths` [2h, 2w] bring the doubled vectors to unit length.
    """
    height, width = (side // 2 for side in inverse_lengths.shape)
    down_index, down = _undoubled(rows.index, height)
    across_index, across = _undoubled(columns.index, width)
    shares = inverse_lengths[rows.index[:, :, None], columns.index[:, None, :]]
    shares = shares * rows.weights[:, :, None] * columns.weights[:, None, :]  # [N, 3, 3] at half size
    weights = np.matmul(np.matmul(down.transpose(0, 2, 1), shares), across)
    index = down_index[:, :, None] * width + across_index[:, None, :]
    return Blend(index.reshape(-1, 9), weights.reshape(-1, 9))


def _undoubled(index: Indices, length: int) -> tuple[Indices, Floats]:
    """Three pixels before the doubling [N, 3], and their shares [N, 3, 3] in each of three pixels `index` [N, 3]."""
    under = neighbours(corner_places(index.ravel(), length, 2 * length), length)
    starts, shares = under.index[:, 0].reshape(-1, 3), under.weights.reshape(-1, 3, 2)
    first = starts[:, :1]
    found = np.zeros((*index.shape, 3), dtype=np.float32)
    places, taps = np.indices(index.shape)
    for tap in (0, 1):
        found[places, taps, starts - first + tap] += shares[:, :, tap]
    return np.minimum(first + np.arange(3), length - 1), found


def plain_blend(rows: Taps, columns: Taps, width: int) -> Blend:
    """The vectors of a map of `width` columns under `rows` and `columns` [N, T], without a doubling: [N, T * T]."""
    index = rows.index[:, :, None] * width + columns.index[:, None, :]
    weights = rows.weights[:, :, None] * columns.weights[:, None, :]
    return Blend(index.reshape(len(index), -1), weights.reshape(len(index), -1))


def blended(table: Floats, blend: Blend) -> Floats:
    """The weighted sums of rows of `table` [P, C]: float32 [N, C]."""
    found = np.empty((len(blend.index), table.shape[1]), dtype=np.float32)
    size = max(1, _PART_ELEMENTS // max(1, table.shape[1] * blend.index.shape[1]))
    for start in range(0, len(found), size):
        part = slice(start, start + size)
        np.matmul(blend.weights[part, None, :], table[blend.index[part]], out=found[part, None, :])
    return found
