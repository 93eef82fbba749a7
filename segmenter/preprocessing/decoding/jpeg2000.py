"""JPEG 2000, after a look at what its header asks for."""

from __future__ import annotations

import struct

from lseg_serve.segmenter.errors import InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.pillow import loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size

# OpenJPEG makes tables of 3 kB for each component of each tile, of which the format allows 16384 and 65535.
_MOST_COMPONENTS, _MOST_TILES = 4, 4096
# Pillow walks over boxes and segments in Python, and a file may be full of empty ones.
_MOST_BOXES, _MOST_SEGMENTS = 100, 50_000
_LARGEST_HEADER_BOX = 65_536
# It goes through each layer of each block, whether the file has anything of it or not.
_MOST_LAYERS = 100
_SMALLEST_BLOCK = 8  # bits of the number of its pixels: 16x16, or 4x64
_TILE, _PIXELS, _END, _CODING, _CODING_OF_COMPONENT = 0xFF90, 0xFF93, 0xFFD9, 0xFF52, 0xFF53  # markers
_CODESTREAM = b"\xff\x4f\xff\x51"
_SIZES = struct.Struct(">8xIIIIIIIIH")  # markers, capabilities; extent, offset, tile's extent and offset; components


def decode_jpeg_2000(data: bytes, max_pixels: int) -> Pixels:
    """The picture of a JPEG 2000 file, as RGB uint8 [H, W, 3].

    Raises:
        UnsupportedImageError: more components than RGB with transparency, or more than 16 bits.
        ImageTooLargeError: more than `max_pixels` pixels, or too long a side; checked before pixels are decoded.
        InvalidImageError: truncated or damaged.
    """
    try:
        codestream = _codestream(data)
        fields = _SIZES.unpack_from(data, codestream)
        _check_segments(data, codestream)
    except (struct.error, IndexError, ValueError) as error:
        raise InvalidImageError("the JPEG 2000 image is truncated or damaged: its header is cut") from error
    right, bottom, left, top, tile_width, tile_height, _, _, components = fields
    check_size(max(right - left, 0), max(bottom - top, 0), max_pixels)
    if components > _MOST_COMPONENTS:
        raise UnsupportedImageError(
            f"the JPEG 2000 image has {components} components; accepted: up to {_MOST_COMPONENTS}"
        )
    if not tile_width or not tile_height or -(-right // tile_width) * -(-bottom // tile_height) > _MOST_TILES:
        raise InvalidImageError(f"the JPEG 2000 image is damaged: its tiles are {tile_width}x{tile_height} pixels")
    image = opened(data, ("JPEG2000",))
    check_size(*image.size, max_pixels)
    return loaded(image)


def _codestream(data: bytes) -> int:
    """Where the codestream begins: at once, or in a box of that name."""
    if data.startswith(_CODESTREAM):
        return 0
    position, has_header = 0, False
    for _ in range(_MOST_BOXES):
        if position > len(data):  # a length has up to 64 bits, more than a position in memory
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        start = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, position + 8)
            start = 16
        if kind == b"jp2c" and has_header:
            return position + start
        has_header |= kind == b"jp2h"
        if length < start or (kind == b"jp2h" and length > _LARGEST_HEADER_BOX):
            break
        position += length
    raise InvalidImageError("the JPEG 2000 image is truncated or damaged: it has no codestream")


def _check_segments(data: bytes, codestream: int) -> None:
    """Walk over the segments of all tiles, without their pixels, and look at how these are coded."""
    position, end_of_tile = codestream + 2, len(data)
    for _ in range(_MOST_SEGMENTS):
        if position + 4 > len(data):
            return
        marker, length = struct.unpack_from(">HH", data, position)
        content = data[position + 4 : position + 2 + length]
        if marker == _END:
            return
        if marker == _TILE:
            (tile_length,) = struct.unpack_from(">I", content, 2)
            end_of_tile = position + tile_length if tile_length else len(data)
        elif marker == _CODING:
            if int.from_bytes(content[2:4], "big") > _MOST_LAYERS:
                raise InvalidImageError(f"the JPEG 2000 image has more than {_MOST_LAYERS} quality layers")
            _check_blocks(content[0], content[5:])
        elif marker == _CODING_OF_COMPONENT:
            _check_blocks(content[1], content[2:])
        position = max(end_of_tile, position + 2) if marker == _PIXELS else position + 2 + length
    raise InvalidImageError(f"the JPEG 2000 image has more than {_MOST_SEGMENTS} segments")


def _check_blocks(style: int, parameters: bytes) -> None:
    """Refuse tiny code-blocks and precincts, for each of which OpenJPEG makes a table."""
    levels, width, height = parameters[:3]
    precincts = parameters[5 : 6 + levels] if style & 1 else b""
    bits = [(width & 15) + (height & 15) + 4, *((each & 15) + (each >> 4) for each in precincts)]
    if min(bits) < _SMALLEST_BLOCK:
        raise UnsupportedImageError(
            f"the JPEG 2000 image has blocks of {2 ** min(bits)} pixels; accepted: from {2**_SMALLEST_BLOCK}"
        )
