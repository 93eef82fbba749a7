"""JPEG, and MPO, which is several JPEGs one after the other."""

from __future__ import annotations

import re

import numpy as np
import simplejpeg
from PIL import Image

from lseg_serve.segmenter.errors import InvalidImageError
from lseg_serve.segmenter.preprocessing.decoding.color import as_srgb, pixels_as_srgb
from lseg_serve.segmenter.preprocessing.decoding.orientation import exif_orientation, upright
from lseg_serve.segmenter.preprocessing.decoding.pillow import loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size

_FORMATS = ("JPEG", "MPO")
_JPEG_END = b"\xff\xd9"
# A progressive JPEG has about ten scans. Each scan costs a pass over the whole image, but takes only a few bytes of
# the file, so a small file with many scans could keep a worker busy for very long.
_MOST_SCANS = 100
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # the markers that a length follows, and the end marker
_SCAN, _END = 0xDA, _JPEG_END[1]
# What libjpeg warns of where the picture ends before its last row: the bits are used up, or the end stands in place
# of a restart. Its other warnings are of bytes too many and of faults within, over which viewers show the picture.
_CUT = re.compile(r"premature end of data segment|found marker 0xd9 instead of")


def decode_jpeg(data: bytes, max_pixels: int) -> Pixels:
    """The picture of a JPEG, the first one of an MPO; upright, in sRGB, as RGB uint8 [H, W, 3].

    Raises:
        ImageTooLargeError: more than `max_pixels` pixels; checked before pixels are decoded.
        InvalidImageError: truncated or damaged, or it would keep a worker busy.
    """
    image = opened(data, _FORMATS)
    check_size(*image.size, max_pixels)
    _check_scans(data)
    pixels = _pixels(data, image)
    if pixels is None:
        pixels = loaded(image)
    return upright(pixels, exif_orientation(image))


def _check_scans(data: bytes) -> None:
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


def _pixels(data: bytes, image: Image.Image) -> Pixels | None:
    """The pixels of a JPEG in sRGB, not turned; None where libjpeg-turbo's own interface cannot decode it.

    That interface gives the same values as Pillow, in a third of the time, and the warnings that tell a file that was
    cut from one that lacks only its end marker. The first is refused even if an end marker was put behind the cut; to
    the second the marker is added.

    Raises:
        InvalidImageError: the picture ends before its last row.
    """
    if image.mode not in ("L", "RGB", "CMYK"):
        return None
    ended = data if data.endswith(_JPEG_END) else data + _JPEG_END
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(ended, strict=False)
        if (width, height) != image.size:
            return None
        pixels = _decoded(ended, "CMYK" if image.mode == "CMYK" else "RGB")
    except (ValueError, KeyError):  # then Pillow tries, and says what is wrong; KeyError: of the sampling of colours
        return None
    profile = image.info.get("icc_profile")
    if image.mode != "CMYK":
        return pixels_as_srgb(pixels, profile, image.mode)
    # Adobe's programs store light in place of ink, and all others do as they do.
    return np.asarray(as_srgb(Image.fromarray(255 - pixels, "CMYK"), profile).convert("RGB"))


def _decoded(data: bytes, mode: str) -> Pixels:
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, mode, strict=True))
    except ValueError as error:
        if _CUT.search(str(error)):
            raise InvalidImageError(f"the JPEG image is truncated or damaged: {error}") from error
        return np.asarray(simplejpeg.decode_jpeg(data, mode, strict=False))
