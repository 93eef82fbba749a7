"""JPEG, and MPO, which is several JPEGs one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

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
_SCAN, _END, _PROGRESSIVE = 0xDA, _JPEG_END[1], (0xC2, 0xCA)
_MOST_COMPONENTS, _LAST_FREQUENCY = 4, 63
_SEEN = 16  # bytes of a segment: a scan's header is not longer
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
    """Look at the scans of a JPEG, or of the first image in an MPO.

    Raises:
        InvalidImageError: there are more than any camera or program writes, and they would keep a worker busy; or the
            last ones are missing, so that values which the first gave roughly are never refined.
    """
    scans, progressive = 0, False
    rough: dict[tuple[int, int], int] = {}  # for each component and frequency the bits that are still to come
    for marker, content in _segments(data):
        progressive |= marker in _PROGRESSIVE
        if marker != _SCAN:
            continue
        scans += 1
        if scans > _MOST_SCANS:
            raise InvalidImageError(f"the JPEG image has more than {_MOST_SCANS} scans")
        count, fields = content[0], content[1 : 1 + 2 * content[0] + 3]
        if progressive and count <= _MOST_COMPONENTS and len(fields) == 2 * count + 3:
            first, last, bits = fields[-3:]
            frequencies = range(first, min(last, _LAST_FREQUENCY) + 1)
            rough.update({(name, each): bits & 15 for name in fields[: 2 * count : 2] for each in frequencies})
    if any(rough.values()):
        raise InvalidImageError("the JPEG image is truncated or damaged: its last scans are missing")


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each marker with what follows it, up to the end of the first image. Of tables and texts the start is enough."""
    position = 2
    while (found := _JPEG_MARKER.search(data, position)) and data[found.start() + 1] != _END:
        yield data[found.start() + 1], data[found.end() + 2 : found.end() + _SEEN] or b"\0"
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")


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
