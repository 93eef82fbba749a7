"""JPEG 2000, after a look at what its header asks for."""

from __future__ import annotations

import struct

from lseg_serve.segmenter.errors import ImageTooLargeError, InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.pillow import loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size

# OpenJPEG takes half a second for each megabyte of a file, many times what other kinds take.
_MOST_BYTES = 16_000_000
# It makes tables of 3 kB for each component of each tile, of which the format allows 16384 and 65535.
_MOST_COMPONENTS, _MOST_TILES = 4, 4096
_MOST_BOXES = 100
_LARGEST_HEADER_BOX = 65_536
_CODESTREAM = b"\xff\x4f\xff\x51"
_SIZES = struct.Struct(">8xIIIIIIIIH")  # markers, capabilities; extent, offset, tile's extent and offset; components


def decode_jpeg_2000(data: bytes, max_pixels: int) -> Pixels:
    """The picture of a JPEG 2000 file, as RGB uint8 [H, W, 3].

    Raises:
        UnsupportedImageError: more components than RGB with transparency, or more than 16 bits.
        ImageTooLargeError: more than `max_pixels` pixels, too long a side, or a file that takes too long; checked
            before pixels are decoded.
        InvalidImageError: truncated or damaged.
    """
    if len(data) > _MOST_BYTES:
        raise ImageTooLargeError(
            f"the JPEG 2000 image has {len(data)} bytes; accepted: up to {_MOST_BYTES}; convert it to PNG or JPEG"
        )
    try:
        fields = _SIZES.unpack_from(data, _codestream(data))
    except struct.error as error:
        raise InvalidImageError("the JPEG 2000 image is truncated or damaged: it has no header") from error
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
    position = 0
    for _ in range(_MOST_BOXES):
        length, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, position + 8)
            header = 16
        if kind == b"jp2c":
            return position + header
        if length < header or (kind == b"jp2h" and length > _LARGEST_HEADER_BOX):
            break
        position += length
    raise InvalidImageError("the JPEG 2000 image is truncated or damaged: it has no codestream")
