"""The flattened picture of a Photoshop file."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from lseg_serve.segmenter.errors import InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.pillow import loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size

_HEADER = struct.Struct(">4sH6xHIIHH")  # signature, version, channels, height, width, bits, mode
# The colour modes that are served, by Photoshop's numbers, with their names, bits and channels.
_MODES = {
    0: ("bitmap", 1, 1),
    1: ("grey", 8, 1),
    2: ("palette", 8, 1),
    3: ("RGB", 8, 3),
    4: ("CMYK", 8, 4),
    8: ("duotone", 8, 1),
    9: ("Lab", 8, 3),
}
_PALETTE, _PALETTE_BYTES = 2, 768
_RAW, _PACKED = 0, 1  # how the picture is compressed
_PROFILE, _VERSION = 1039, 1057  # resources
_MOST_RESOURCES = 10_000


class _Sections(NamedTuple):
    palette: bytes
    resources: dict[int, bytes]
    transparent: bool
    picture: int  # where the flattened picture begins


def decode_photoshop(data: bytes, max_pixels: int) -> Pixels:
    """The flattened picture of a Photoshop file, as RGB uint8 [H, W, 3].

    Photoshop has laid transparent parts over white in the colours themselves. Other programs have not, and their fourth
    channel is the transparency, if the file says so; else further channels are saved selections, and change nothing.

    Raises:
        UnsupportedImageError: another mode or compression than is served, or no flattened picture.
        ImageTooLargeError: more than `max_pixels` pixels, or too long a side; checked before pixels are decoded.
        InvalidImageError: truncated or damaged.
    """
    try:
        _, _, channels, height, width, bits, mode = _HEADER.unpack_from(data)
        check_size(width, height, max_pixels)
        name, accepted_bits, needed = _MODES.get(mode, (f"colour mode {mode}", 8, 0))
        if bits != accepted_bits or not needed:
            raise UnsupportedImageError(
                f"the Photoshop file has {bits} bits in {name}; accepted: 8 bits in RGB, CMYK, Lab, grey or a palette"
            )
        if channels < needed:
            raise InvalidImageError(f"the Photoshop file is damaged: {channels} channels; {name} has {needed}")
        sections = _sections(data)
        if mode == _PALETTE and len(sections.palette) != _PALETTE_BYTES:
            raise InvalidImageError("the Photoshop file is damaged: it has no palette")
        if sections.transparent and name == "RGB" and channels > needed:
            needed += 1
        picture = _picture(data[sections.picture :], channels, needed, height)
    except struct.error as error:
        raise InvalidImageError("the Photoshop file is truncated or damaged: it ends within its parts") from error
    # Pillow misreads the picture where there are more channels than it needs, so it gets no others, and no layers.
    header = _HEADER.pack(b"8BPS", 1, needed, height, width, bits, mode)
    image = opened(b"".join([header, _block(sections.palette), _block(b""), _block(b""), picture]), ("PSD",))
    if _PROFILE in sections.resources:
        image.info["icc_profile"] = sections.resources[_PROFILE]
    return loaded(image)


def _sections(data: bytes) -> _Sections:
    palette, position = _take(data, _HEADER.size)
    resources, position = _take(data, position)
    named = _resources(resources)
    if named.get(_VERSION, b"\0\0\0\1\1")[4:5] == b"\0":
        raise UnsupportedImageError(
            "the Photoshop file has no flattened picture; save it with 'Maximize Compatibility', or as PNG"
        )
    length, layers, count = struct.unpack_from(">IIh", data, position)
    transparent = length > 0 and layers > 0 and count < 0 and _VERSION not in named  # which only Photoshop writes
    return _Sections(palette, named, transparent, position + 4 + length)


def _resources(section: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    position = 0
    for _ in range(_MOST_RESOURCES):
        if position + 12 > len(section):
            break
        (number,) = struct.unpack_from(">H", section, position + 4)
        name = section[position + 6] + 1  # with its length, and padded to even
        content, position = _take(section, position + 6 + name + name % 2)
        found.setdefault(number, content)
        position += position % 2
    return found


def _picture(stored: bytes, channels: int, needed: int, height: int) -> bytes:
    """The flattened picture of the first `needed` of `channels`."""
    (compression,) = struct.unpack_from(">H", stored)
    if compression not in (_RAW, _PACKED):
        raise UnsupportedImageError("the Photoshop file's picture is compressed with ZIP; save it as PNG")
    if compression == _RAW or channels == needed:
        return stored
    lengths = np.frombuffer(stored, ">u2", min(channels * height, (len(stored) - 2) // 2), 2)
    rows = lengths[: needed * height]
    start = 2 + 2 * channels * height
    return b"".join([stored[:2], rows.tobytes(), stored[start : start + int(rows.sum(dtype=np.int64))]])


def _take(data: bytes, position: int) -> tuple[bytes, int]:
    """A block with its length in front, and the place behind it."""
    (length,) = struct.unpack_from(">I", data, position)
    return data[position + 4 : position + 4 + length], position + 4 + length


def _block(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content
