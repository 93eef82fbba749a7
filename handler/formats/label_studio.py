"""Label Studio's brush format: the run-length packing of a mask as RGBA, equal to what its SDK writes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.bool_]

_CHANNELS = 4  # RGBA, with the same value in each
_WORD_BITS = 8
# The length of a run is written with one of these numbers of bits, chosen for each run.
_RUN_BITS = np.array([3, 4, 8, 16])
_LONGEST = 1 << 16  # that a run may be


def label_studio_rle(pixels: Bits) -> list[int]:
    """`pixels` [H, W] as Label Studio's brush format, one byte an entry.

    The format is that of the rle-pack library: 32 bits count of values, 5 bits word size - 1, 4 x 4 bits run size - 1;
    then runs, each a flag (1: one value repeated), a 2-bit choice of run size, the length - 1, and the 8-bit value.
    """
    flat = pixels.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    runs = np.diff(starts, append=flat.size) * _CHANNELS
    lengths, of_run = _parts(runs)
    values = flat[starts][of_run]
    # By the length of the whole run, as the SDK chooses: what is left of a long one has the widest size, too.
    choices = np.minimum(np.searchsorted(1 << _RUN_BITS, runs), len(_RUN_BITS) - 1)[of_run]
    sizes = _RUN_BITS[choices]
    codes = ((0b100 | choices) << sizes | lengths - 1) << _WORD_BITS | np.where(values, 255, 0)
    # The last byte is filled with zeros; where there is nothing to fill, the SDK adds a whole one.
    head = f"{_CHANNELS * flat.size:032b}{_WORD_BITS - 1:05b}" + "".join(f"{size - 1:04b}" for size in _RUN_BITS)
    bits = np.concatenate([np.array(list(head), np.uint8), _bits(codes, 3 + sizes + _WORD_BITS)])
    bits = np.pad(bits, (0, 8 - len(bits) % 8))
    packed: list[int] = np.packbits(bits).tolist()
    return packed


def _parts(runs: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Lengths of parts of `runs` that the widest run size can hold, whole ones first, and the run of each."""
    counts = -(-runs // _LONGEST)
    parts = np.full(counts.sum(), _LONGEST)
    parts[np.cumsum(counts) - 1] = runs - (counts - 1) * _LONGEST
    return parts, np.repeat(np.arange(len(runs)), counts)


def _bits(codes: npt.NDArray[np.int64], widths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The lowest `widths` bits of each of `codes`, one after the other, the highest first: uint8 of 0 and 1."""
    ends = np.cumsum(widths)
    to_the_right = np.repeat(ends, widths) - np.arange(ends[-1]) - 1
    return (np.repeat(codes, widths) >> to_the_right & 1).astype(np.uint8)
