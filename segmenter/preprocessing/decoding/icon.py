"""Windows icons and cursors: several pictures, of which the largest is taken."""

from __future__ import annotations

import struct

from lseg_serve.segmenter.errors import InvalidImageError
from lseg_serve.segmenter.preprocessing.decoding.kinds import is_png
from lseg_serve.segmenter.preprocessing.decoding.pillow import loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size
from lseg_serve.segmenter.preprocessing.decoding.png import decode_png

_ENTRY = struct.Struct("<BBBBHHII")  # width, height, colours, nothing, planes, bits, bytes of the picture, their place
_FIRST = 6  # behind nothing, the type and the number of entries
_BITMAP_HEADER = struct.Struct("<IiiHH")  # its own size, width, height of colours and mask, planes, bits


def decode_icon(data: bytes, max_pixels: int) -> Pixels:
    """The largest picture of an icon, as RGB uint8 [H, W, 3].

    Raises:
        ImageTooLargeError: more than `max_pixels` pixels; checked before pixels are decoded.
        InvalidImageError: truncated or damaged.
    """
    picture = _largest(data)
    if is_png(picture):
        return decode_png(picture, max_pixels)
    if len(picture) < _BITMAP_HEADER.size:
        raise InvalidImageError("the icon is truncated or damaged: its picture is missing")
    _, width, height, _, bits = _BITMAP_HEADER.unpack_from(picture)
    check_size(abs(width), abs(height) // 2, max_pixels)
    # Pillow decodes at once what it opens, and sorts the entries by what they say of themselves. So it gets one only.
    entry = _ENTRY.pack(width % 256, height // 2 % 256, 0, 0, 1, bits, len(picture), _FIRST + _ENTRY.size)
    return loaded(opened(b"\0\0\1\0\1\0" + entry + picture, ("ICO",)))


def _largest(data: bytes) -> bytes:
    """The bytes of the picture with the most pixels, of these of that with the most bits, as the entries say."""
    end = _FIRST + _ENTRY.size * int.from_bytes(data[4:6], "little")
    table = data[_FIRST : min(end, len(data))]
    entries = list(_ENTRY.iter_unpack(table[: len(table) // _ENTRY.size * _ENTRY.size]))
    if not entries:
        raise InvalidImageError("the icon is truncated or damaged: it has no entry")
    *_, length, place = max(entries, key=lambda entry: ((entry[0] or 256) * (entry[1] or 256), entry[5]))
    picture = data[place : place + length]
    return data[place:] if is_png(picture) else picture  # a PNG has an end of its own, and some entries are wrong
