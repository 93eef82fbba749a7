"""The outline of a region, as COCO, a polygon viewer or Label Studio read it: the values of the field `geometry`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

Bits = npt.NDArray[np.bool_]


def coco_rle(pixels: Bits) -> dict[str, object]:
    """`pixels` [H, W] as COCO's compressed run-length encoding."""
    encoded = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def polygons(pixels: Bits) -> list[list[list[int]]]:
    """Outlines of `pixels` [H, W]: closed rings of [x, y] through the centres of border pixels, holes included."""
    contours, _ = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return [contour[:, 0].tolist() for contour in contours]


# Label Studio's brush format writes the length of a run with one of these numbers of bits, chosen for each run.
_RUN_BITS = (3, 4, 8, 16)


def label_studio_rle(pixels: Bits) -> list[int]:
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


ENCODER_BY_GEOMETRY: dict[str, Callable[[Bits], object]] = {
    "rle": coco_rle,
    "polygons": polygons,
    "label_studio": label_studio_rle,
}
