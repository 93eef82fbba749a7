"""JPEG, and MPO, which is several JPEGs one after the other."""

from __future__ import annotations

import re
from contextlib import suppress

import cv2
import numpy as np
from PIL import Image

from lseg_serve.segmenter.errors import InvalidImageError
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels

JPEGS = ("JPEG", "MPO")
_JPEG_END = b"\xff\xd9"
# A progressive JPEG has about ten scans. Each scan costs a pass over the whole image, but takes only a few bytes of
# the file, so a small file with many scans could keep a worker busy for very long.
_MOST_SCANS = 100
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # the markers that a length follows, and the end marker
_SCAN, _END = 0xDA, _JPEG_END[1]


def check_scans(data: bytes) -> None:
    """Refuse a JPEG with so many scans that it would keep a worker busy.

    Raises:
        InvalidImageError: it has more scans than any camera or program writes.
    """
    if _scans(data) > _MOST_SCANS:
        raise InvalidImageError(f"the JPEG image has more than {_MOST_SCANS} scans")


def _scans(data: bytes) -> int:
    """The number of scans of a JPEG, or of the first image in an MPO. Counting stops above what is accepted."""
    position, scans = 2, 0
    while scans <= _MOST_SCANS and (found := _JPEG_MARKER.search(data, position)):
        if data[found.start() + 1] == _END:
            break
        scans += data[found.start() + 1] == _SCAN
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return scans


def whole_jpeg(data: bytes, image: Image.Image) -> Pixels | None:
    """The pixels of a JPEG, decoded by OpenCV and not turned; None where OpenCV cannot be used.

    OpenCV gives the same values as Pillow, but faster and with fewer copies. It cannot be used for other formats and
    for CMYK. Nor is it used where the end of the file is missing, which it would silently replace by grey.
    """
    if image.format not in JPEGS or image.mode not in ("L", "RGB") or not data.endswith(_JPEG_END):
        return None
    pixels = None
    with suppress(cv2.error):  # then Pillow tries, and says what is wrong
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return pixels if pixels is not None and pixels.shape == (image.height, image.width, 3) else None
