"""JPEG XL, after a look at what its header asks for."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from PIL import Image

from lseg_serve.segmenter.errors import InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.jpeg import decode_jpeg
from lseg_serve.segmenter.preprocessing.decoding.pillow import DAMAGED, over_white
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size

_BARE = b"\xff\x0a"
_MOST_BOXES = 100
_MOST_EXTRA_CHANNELS = 4  # libjxl decodes all, of which the format allows 4096; one is transparency
_BYTES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 2}  # of a pixel, in the modes that Pillow has too


class _Header(NamedTuple):
    width: int
    height: int
    animated: bool
    extra_channels: int


def decode_jpeg_xl(data: bytes, max_pixels: int) -> Pixels:
    """The picture of a JPEG XL file, upright, as RGB uint8 [H, W, 3].

    Raises:
        UnsupportedImageError: an animation, many channels, or values that are neither 8 bits nor 16-bit grey.
        ImageTooLargeError: more than `max_pixels` pixels, or too long a side; checked before pixels are decoded.
        InvalidImageError: truncated or damaged.
    """
    try:
        header = _header(data)
    except (struct.error, IndexError) as error:
        raise InvalidImageError("the JPEG XL image is truncated or damaged: it has no header") from error
    check_size(header.width, header.height, max_pixels)
    if header.animated:
        raise UnsupportedImageError("a JPEG XL animation is not served; send a single frame, as PNG or JPEG")
    if header.extra_channels > _MOST_EXTRA_CHANNELS:
        raise UnsupportedImageError(
            f"the JPEG XL image has {header.extra_channels} extra channels; accepted: up to {_MOST_EXTRA_CHANNELS}"
        )
    # Only here, because the plugin tells Pillow of itself as soon as it is imported.
    from pillow_jxl import Decoder

    try:
        was_jpeg, info, stored, profile, _ = Decoder(num_threads=-1)(data)
    except DAMAGED as error:
        raise InvalidImageError(f"the JPEG XL image is truncated or damaged: {error}") from error
    if was_jpeg:  # a JPEG that was packed without loss comes out as it was
        return decode_jpeg(stored, max_pixels)
    size = (info.width, info.height)
    if len(stored) != _BYTES.get(info.mode, 0) * size[0] * size[1]:
        raise UnsupportedImageError(f"JPEG XL with pixels of {info.mode} is not served; accepted: 8 bits, 16-bit grey")
    image = Image.frombytes(info.mode, size, stored)
    return np.asarray(over_white(image, profile))


class _Bits:
    """Numbers of a few bits each, the lowest bit first (ISO/IEC 18181-1, annex B)."""

    def __init__(self, data: bytes) -> None:
        self._left = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._left & ((1 << count) - 1)
        self._left >>= count
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """A number in one of four ways, which two bits choose: each an offset, and how many bits to add to it."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)


def _header(data: bytes) -> _Header:
    """What the image header says (ISO/IEC 18181-1, annex D), as far as it decides what decoding costs."""
    bits = _Bits(data[(start := _codestream(data)) : start + 64])
    width, height = _size(bits)
    animated = False
    if bits.take(1):  # all else as usual
        return _Header(width, height, animated, 0)
    if bits.take(1):
        bits.take(3)  # orientation, which the decoder obeys
        if bits.take(1):
            _size(bits)  # at which to show the picture
        if bits.take(1):
            raise UnsupportedImageError("a JPEG XL image with a preview is not served; convert it to PNG or JPEG")
        animated = bool(bits.take(1))
    if animated:
        return _Header(width, height, animated, 0)
    if bits.take(1):  # floats, and the bits of a number and of its exponent
        bits.choose((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
    else:
        bits.choose((8, 0), (10, 0), (12, 0), (1, 6))
    bits.take(1)  # whether 16 bits are enough to compute with
    return _Header(width, height, animated, bits.choose((0, 0), (1, 0), (2, 4), (1, 12)))


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    across, down = ((0, 0), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[bits.take(3)]
    return (height * across // down if down else side()), height


def _codestream(data: bytes) -> int:
    """Behind the signature of the codestream: at the beginning, or in a box, the first one of several parts."""
    if data.startswith(_BARE):
        return len(_BARE)
    position = 0
    for _ in range(_MOST_BOXES):
        if position > len(data):  # a length has up to 64 bits, more than a position in memory
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, position + 8)
            header = 16
        if kind in (b"jxlc", b"jxlp"):
            return position + header + (4 if kind == b"jxlp" else 0) + len(_BARE)
        if length < header:
            break
        position += length
    raise InvalidImageError("the JPEG XL image is truncated or damaged: it has no codestream")
