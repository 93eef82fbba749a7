"""What a mask says of each label: area, box, outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

Pixels = npt.NDArray[np.uint8]
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
    rows = _extents(mask, count, axis=1)
    columns = _extents(mask, count, axis=0)
    regions = []
    for index in range(count):
        box = None
        if areas[index]:
            (top, bottom), (left, right) = rows[index], columns[index]
            box = (left, top, right - left + 1, bottom - top + 1)
        regions.append(Region(index, int(areas[index]), box))
    return regions


def _extents(mask: Pixels, count: int, axis: int) -> list[tuple[int, int]]:
    """First and last line along the other axis in which each label occurs; (0, 0) for one that does not."""
    lines = mask if axis == 1 else mask.T
    present = np.zeros((len(lines), 256), dtype=bool)
    for line, values in zip(present, lines, strict=True):
        line[values] = True
    extents = []
    for index in range(count):
        found = np.flatnonzero(present[:, index])
        extents.append((int(found[0]), int(found[-1])) if len(found) else (0, 0))
    return extents


def coco_rle(pixels: npt.NDArray[np.bool_]) -> dict[str, object]:
    """`pixels` [H, W] as COCO's compressed run-length encoding."""
    encoded = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def polygons(pixels: npt.NDArray[np.bool_]) -> list[list[list[int]]]:
    """Outlines of `pixels` [H, W]: closed rings of [x, y] through the centres of border pixels, holes included."""
    contours, _ = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return [contour[:, 0].tolist() for contour in contours]


# Label Studio's brush format: bit lengths of a run's length, chosen per run by a 2-bit selector.
_RUN_BITS = (3, 4, 8, 16)


def label_studio_rle(pixels: npt.NDArray[np.bool_]) -> list[int]:
    """`pixels` [H, W] as Label Studio's brush format: the run-length packing of the mask as RGBA, one byte an entry.

    The format is that of the rle-pack library: 32 bits count of values, 5 bits word size - 1, 4 x 4 bits run size - 1;
    then runs, each a flag (1: one value repeated), a 2-bit choice of run size, the length - 1, and the 8-bit value.
    """
    flat = pixels.ravel()
    bits = [f"{4 * flat.size:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in _RUN_BITS)]
    starts = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    lengths = np.diff(starts, append=flat.size) * 4  # the four channels of a pixel have the same value
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = f"{255 if flat[start] else 0:08b}"
        bits.extend(_run(part, value) for part in _parts(length))
    packed = "".join(bits)
    packed += "0" * (-len(packed) % 8)
    return [int(packed[at : at + 8], 2) for at in range(0, len(packed), 8)]


def _parts(length: int) -> Sequence[int]:
    """`length` cut into runs that the widest run size can hold."""
    longest = 1 << _RUN_BITS[-1]
    return [longest] * (length // longest) + ([length % longest] if length % longest else [])


def _run(length: int, value: str) -> str:
    choice = next(i for i, size in enumerate(_RUN_BITS) if length <= 1 << size)
    return f"1{choice:02b}{length - 1:0{_RUN_BITS[choice]}b}{value}"
