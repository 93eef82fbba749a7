"""PNG, of which only the chunks that a picture needs are passed on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from lseg_serve.segmenter.errors import InvalidImageError
from lseg_serve.segmenter.preprocessing.decoding.orientation import exif_orientation, upright
from lseg_serve.segmenter.preprocessing.decoding.pillow import loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size

_FIRST = 8  # behind the signature
# A PNG writer makes chunks of 8 kB at least. A file of empty ones would keep a worker busy for seconds.
_MOST_CHUNKS = 100_000
_LARGEST_PROFILE = 1_000_000  # bytes, once decompressed; Pillow refuses an image whose profile is larger
_ANCILLARY = 0x20  # the bit of a chunk's first letter that says that the picture can be shown without it
_TRANSPARENT_COLOUR = {0: 2, 2: 6}  # bytes of tRNS for grey and for RGB; for a palette there is one for each entry
_COLOUR_TYPE = 25  # where the header says it


class _Chunk(NamedTuple):
    kind: bytes
    start: int  # of its length field
    content: int
    end: int  # behind its checksum


def decode_png(data: bytes, max_pixels: int) -> Pixels:
    """The picture of a PNG, of an animated one that which all viewers can show; upright, as RGB uint8 [H, W, 3].

    Raises:
        ImageTooLargeError: more than `max_pixels` pixels, or too long a side; checked before pixels are decoded.
        InvalidImageError: truncated or damaged.
    """
    image = opened(only_picture(data), ("PNG",))
    check_size(*image.size, max_pixels)
    pixels = loaded(image)
    return upright(pixels, exif_orientation(image))


def only_picture(data: bytes) -> bytes:
    """The PNG `data` without the chunks that its picture does not need, so that no fault in them matters.

    Viewers show a PNG whose comment is large, or whose colour profile has a wrong checksum. Of the chunks that only add
    to the picture these are kept, if they are whole: transparency, EXIF, colour profile. Those of the picture itself
    stay as they are, and what is wrong with them is for the decoder to say. A missing end is added: it holds nothing.

    Raises:
        InvalidImageError: the file has so many chunks that it would keep a worker busy.
    """
    parts, kept_from, position, ended = [], 0, _FIRST, False
    for count, chunk in enumerate(_chunks(data)):
        if count > _MOST_CHUNKS:
            raise InvalidImageError(f"the PNG image has more than {_MOST_CHUNKS} chunks")
        position, ended = chunk.end, chunk.kind == b"IEND"
        if not _needed(data, chunk):
            parts.append(data[kept_from : chunk.start])
            kept_from = chunk.end
    if not ended and position == len(data):
        parts.append(data[kept_from:])
        return b"".join([*parts, _end()])
    return b"".join([*parts, data[kept_from:]]) if parts else data


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """The whole chunks of a PNG, to its end or to where the file was cut."""
    start = _FIRST
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            return
        yield _Chunk(kind, start, start + 8, end)
        if kind == b"IEND":
            return
        start = end


def _needed(data: bytes, chunk: _Chunk) -> bool:
    if not chunk.kind[0] & _ANCILLARY:
        return True
    whole = _WHOLE.get(chunk.kind)
    if whole is None or zlib.crc32(data[chunk.start + 4 : chunk.end - 4]) != int.from_bytes(
        data[chunk.end - 4 : chunk.end], "big"
    ):
        return False
    return whole(data[chunk.content : chunk.end - 4], data[_COLOUR_TYPE])


def _is_transparency(content: bytes, colour_type: int) -> bool:
    return len(content) == _TRANSPARENT_COLOUR.get(colour_type, len(content))


def _is_profile(content: bytes, _: int) -> bool:
    rest = content.partition(b"\0")[2]  # behind its name; the method comes first, and there is but one
    if not rest.startswith(b"\0"):
        return False
    try:
        stream = zlib.decompressobj()
        stream.decompress(rest[1:], _LARGEST_PROFILE)
    except zlib.error:
        return False
    return not stream.unconsumed_tail


def _is_exif(content: bytes, _: int) -> bool:
    return content[:2] in (b"II", b"MM")


_WHOLE = {b"tRNS": _is_transparency, b"iCCP": _is_profile, b"eXIf": _is_exif}


def _end() -> bytes:
    return struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
