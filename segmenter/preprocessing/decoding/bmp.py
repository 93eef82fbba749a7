"""BMP whose colours lie in bit fields, or whose rows are run lengths. Pillow decodes those without compression."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lseg_serve.segmenter.errors import InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.bands import Samples, to_rgb
from lseg_serve.segmenter.preprocessing.decoding.pillow import loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size

_FILE_HEADER = 14
_INFO_HEADER = 40
_HEADERS = (40, 52, 56, 108, 124)  # of Windows; a longer one begins as the shorter ones do
_OTHER_HEADERS = (12, 64)  # of OS/2, which Pillow knows
_BITS = (1, 4, 8, 16, 24, 32)
_RUN_LENGTHS_8, _RUN_LENGTHS_4, _BIT_FIELDS, _ALPHA_BIT_FIELDS = 1, 2, 3, 6
_MOST_FOR_PILLOW = 1_000_000  # bytes of run lengths, for which Pillow takes less than half a second
_COMPRESSIONS = {0: "no compression", 1: "run lengths", 2: "run lengths", 3: "bit fields", 4: "JPEG", 5: "PNG"}
# What all masks zero mean.
_USUAL_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0xFF000000)}


@dataclass(frozen=True)
class _Header:
    size: int
    start: int  # of the pixels
    width: int
    height: int
    top_down: bool
    bits: int
    compression: int


def is_unusual_bmp(data: bytes) -> bool:
    """Whether `data` is a BMP that Pillow does not know or decodes slowly."""
    if not data.startswith(b"BM") or len(data) < _FILE_HEADER + _INFO_HEADER:
        return False
    header = _header(data)
    if header.size in _OTHER_HEADERS:
        return False
    return header.size not in _HEADERS or header.bits not in _BITS or header.compression != 0


def decode_bmp(data: bytes, max_pixels: int) -> Pixels:
    """The pixels of such a BMP as RGB uint8 [H, W, 3]. An alpha that is zero everywhere is none, as viewers take it.

    Raises:
        UnsupportedImageError: an unknown header or compression, or masks that are no bit fields.
        ImageTooLargeError: more than `max_pixels` pixels.
        InvalidImageError: truncated or damaged.
    """
    header = _header(data)
    runs, fields = (_RUN_LENGTHS_8, _RUN_LENGTHS_4), (_BIT_FIELDS, _ALPHA_BIT_FIELDS)
    known = header.size in _HEADERS and header.bits in (_USUAL_MASKS if header.compression in fields else _BITS)
    if not known or header.compression not in (*runs, *fields):
        compression = _COMPRESSIONS.get(header.compression, f"compression {header.compression}")
        raise UnsupportedImageError(
            f"a BMP with a header of {header.size} bytes, {header.bits} bits and {compression} is not served"
        )
    if header.width <= 0 or not header.height:
        raise InvalidImageError(f"the BMP image is damaged: its size is {header.width}x{header.height}")
    check_size(header.width, header.height, max_pixels)
    return _run_lengths(data, header) if header.compression in runs else _bit_fields(data, header)


def _header(data: bytes) -> _Header:
    """What the file says of itself."""
    start, size, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", data, 10)
    return _Header(size, start, width, abs(height), height < 0, bits, compression)


def _run_lengths(data: bytes, header: _Header) -> Pixels:
    """By OpenCV. Pillow decodes them in Python, which takes a minute and more for the largest image."""
    pixels = None
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it would tell the log of each damaged file
    try:
        with suppress(cv2.error):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if pixels is None and len(data) <= _MOST_FOR_PILLOW:  # it takes runs that go beyond their row, too
        return loaded(opened(data))
    if pixels is None or pixels.shape != (header.height, header.width, 3):
        raise InvalidImageError("the BMP image is truncated or damaged: its run lengths do not make a picture")
    return np.asarray(pixels, np.uint8)


def _bit_fields(data: bytes, header: _Header) -> Pixels:
    masks = _masks(data, header)
    words = _words(data, header)
    shades = np.empty((*words.shape, 3), np.uint8)
    for channel, mask in enumerate(masks[:3]):
        shades[..., channel] = _shade(words, mask)
    alpha = _shade(words, masks[3]) if masks[3] else None
    return to_rgb(Samples(shades, alpha if alpha is not None and alpha.any() else None))


def _masks(data: bytes, header: _Header) -> tuple[int, int, int, int]:
    """The bits of red, green, blue and alpha; the last is 0 without alpha."""
    with_alpha = header.size >= 56 or header.compression == _ALPHA_BIT_FIELDS
    count = 4 if with_alpha else 3
    place = _FILE_HEADER + _INFO_HEADER
    if len(data) < place + 4 * count:
        raise InvalidImageError(f"the BMP image is truncated or damaged: its {len(data)} bytes hold no bit fields")
    masks = (*struct.unpack_from(f"<{count}I", data, place), 0)
    red, green, blue, alpha = masks[:4]
    if not any(masks):
        return _USUAL_MASKS[header.bits]
    beyond = 1 << header.bits
    if any(_has_gaps(mask) or mask >= beyond for mask in masks) or not (red and green and blue):
        shown = ", ".join(f"{mask:#x}" for mask in masks[:4])
        raise UnsupportedImageError(
            f"the BMP's bit fields are {shown}; accepted: a row of bits for each colour within {header.bits} bits"
        )
    return red, green, blue, alpha


def _has_gaps(mask: int) -> bool:
    lowest = mask & -mask
    return mask != 0 and (mask + lowest) & mask != 0


def _words(data: bytes, header: _Header) -> npt.NDArray[np.unsignedinteger]:
    """The pixels as they are stored, the upper row first: [H, W]."""
    size = header.bits // 8
    stride = -(-header.width * size // 4) * 4  # rows begin at multiples of four bytes
    masks = 4 * (3 + (header.compression == _ALPHA_BIT_FIELDS)) if header.size == _INFO_HEADER else 0
    start = header.start or _FILE_HEADER + header.size + masks
    needed = (header.height - 1) * stride + header.width * size
    if len(data) < start + needed:
        raise InvalidImageError(
            f"the BMP image is truncated or damaged: {len(data) - start} of {needed} bytes of pixels are there"
        )
    shape, strides = (header.height, header.width), (stride, size)
    words: npt.NDArray[np.unsignedinteger] = np.ndarray(shape, f"<u{size}", data, start, strides)
    return words if header.top_down else words[::-1]


def _shade(words: npt.NDArray[np.unsignedinteger], mask: int) -> Pixels:
    """The field `mask` of each pixel, its largest value as 255."""
    lowest = (mask & -mask).bit_length() - 1
    bits = mask.bit_length() - lowest
    values = (words & words.dtype.type(mask)) >> lowest
    if bits >= 8:
        return np.asarray(values >> (bits - 8), np.uint8)
    table = np.rint(np.arange(1 << bits) * 255 / ((1 << bits) - 1)).astype(np.uint8)
    return np.asarray(table[values])
