"""What turns an image upright."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import cv2
from PIL import ExifTags, Image

from lseg_serve.segmenter.preprocessing.decoding.pillow import DAMAGED
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels

# For each EXIF orientation, what turns the pixels upright. OpenCV is several times faster than Pillow or NumPy.
_TURNS: dict[object, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: lambda pixels: cv2.transpose(pixels),
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def upright(pixels: Pixels, orientation: object) -> Pixels:
    """`pixels` [H, W, 3], turned as the EXIF `orientation` (1 to 8) says; any other value turns nothing."""
    turn = _TURNS.get(orientation)
    return pixels if turn is None else turn(pixels)


def exif_orientation(image: Image.Image) -> object:
    """The orientation in the EXIF data of an image; None without one. It must be read once the pixels are loaded.

    Before that, a PNG may not have been read as far as its EXIF. What XMP says of it is not asked: browsers ignore it,
    and programs that write it there alone have turned the pixels. A TIFF's orientation is none of EXIF's: Pillow turns
    the pixels itself.
    """
    with suppress(*DAMAGED):  # with broken EXIF the pixels are still usable
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        return exif.get(ExifTags.Base.Orientation)
    return None
