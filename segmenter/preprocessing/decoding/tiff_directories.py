"""The directories of a TIFF or BigTIFF: which pictures the file holds, and what its tags say of them.

Pillow opens the first picture only, and with it reads every tag; before Pillow 13 also tags that each name the whole
file as their value, so that a small file takes gigabytes. So directories are read here first, only the tags that count,
each within the file. What is handed on to Pillow is written anew (`rewritten`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lseg_serve.segmenter.errors import InvalidImageError

Order = Literal["<", ">"]  # of bytes: little-endian, big-endian

_MAGIC: dict[bytes, Order] = {b"II*\0": "<", b"MM\0*": ">", b"II\0*": "<", b"MM*\0": ">", b"II+\0": "<", b"MM\0+": ">"}
_BIG = (b"II+\0", b"MM\0+")
# TIFF 6.0, section 2, and BigTIFF. A rational is two numbers.
_TYPES = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 5: "2u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "2i4", 11: "f4"} | {
    12: "f8",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
_LONG = 4
_MOST_TAGS = 1024  # of a directory
_MOST_DIRECTORIES = 64  # read in search of the picture; further pages are never it


class Tag(IntEnum):
    """The tags that say where a picture is and how it is stored."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    MAKE = 271
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTES = 279
    LOWEST = 280
    HIGHEST = 281
    PLANAR = 284
    T4_OPTIONS = 292
    T6_OPTIONS = 293
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    SUB_DIRECTORIES = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    LOWEST_SAMPLE = 340
    HIGHEST_SAMPLE = 341
    JPEG_TABLES = 347
    JPEG_PROC = 512
    JPEG_OFFSET = 513
    JPEG_BYTES = 514
    JPEG_RESTART = 515
    JPEG_Q_TABLES = 519
    JPEG_DC_TABLES = 520
    JPEG_AC_TABLES = 521
    YCBCR_COEFFICIENTS = 529
    YCBCR_SUBSAMPLING = 530
    YCBCR_POSITIONING = 531
    REFERENCE_BLACK_WHITE = 532
    XMP = 700
    ICC_PROFILE = 34675
    NO_DATA = 42113  # GDAL's
    DNG_VERSION = 50706


# Without what turns the picture, which is done by hand: Pillow turns some kinds and not others.
_REWRITTEN = frozenset(Tag) - {
    Tag.DNG_VERSION,
    Tag.MAKE,
    Tag.NEW_SUBFILE_TYPE,
    Tag.NO_DATA,
    Tag.ORIENTATION,
    Tag.SUBFILE_TYPE,
    Tag.SUB_DIRECTORIES,
}


@dataclass(frozen=True)
class Directory:
    """One picture of a TIFF: its tags, and the file that they point into."""

    data: bytes
    order: Order
    places: Mapping[int, tuple[int, int, int]]  # of each tag: type, count, position of the value
    following: int  # position of the next directory; 0 at the end
    parent: Directory | None = None

    def raw(self, tag: Tag) -> bytes:
        """The bytes of a tag's value; none without the tag, or where they would lie beyond the end of the file."""
        kind, count, position = self.places.get(tag, (1, 0, 0))
        return self.data[position : position + count * np.dtype(_TYPES[kind]).itemsize]

    def numbers(self, tag: Tag) -> npt.NDArray[Any]:
        """All numbers of a tag, [count]; empty without it. A rational is two."""
        kind = self.places.get(tag, (1, 0, 0))[0]
        return np.frombuffer(self.raw(tag), np.dtype(_TYPES[kind]).newbyteorder(self.order)).ravel()

    def whole_numbers(self, tag: Tag) -> npt.NDArray[np.integer]:
        """All numbers of a tag that has whole ones, [count]; empty without it."""
        found = self.numbers(tag)
        return found if found.dtype.kind in "ui" else np.empty(0, np.uint8)

    def number(self, tag: Tag, default: int) -> int:
        """The first whole number of a tag."""
        found = self.whole_numbers(tag)
        return int(found[0]) if found.size else default

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return self.number(Tag.WIDTH, 0) * self.number(Tag.HEIGHT, 0)

    @property
    def reduced(self) -> bool:
        """A thumbnail, a level of a pyramid or a mask, and not the picture itself (TIFF 6.0: NewSubfileType)."""
        return bool(self.number(Tag.NEW_SUBFILE_TYPE, 0) & 0b101) or self.number(Tag.SUBFILE_TYPE, 1) == 2


def is_tiff(data: bytes) -> bool:
    """Whether `data` begins as a TIFF or BigTIFF does."""
    return data[:4] in _MAGIC


def directories(data: bytes) -> list[Directory]:
    """The first pictures of a TIFF, each followed by those inside it (SubIFDs); 64 at most.

    Raises:
        InvalidImageError: not even the first can be read.
    """
    found: dict[int, Directory] = {}
    big = data[:4] in _BIG
    waiting = [_pointer(data, big)]
    while waiting and len(found) < _MOST_DIRECTORIES:
        position = waiting.pop(0)
        if position in found:  # a circle
            continue
        directory = _directory(data, position, big)
        if directory is None:
            break
        found[position] = directory
        for inner in directory.whole_numbers(Tag.SUB_DIRECTORIES)[:_MOST_DIRECTORIES].tolist():
            sub = _directory(data, int(inner), big, directory) if len(found) < _MOST_DIRECTORIES else None
            if sub is not None:
                found.setdefault(int(inner), sub)
        if directory.following:
            waiting.append(directory.following)
    if not found:
        raise InvalidImageError(f"the TIFF image is truncated or damaged: its {len(data)} bytes hold no directory")
    return list(found.values())


def _pointer(data: bytes, big: bool) -> int:
    """Position of the first directory."""
    order = _MAGIC[data[:4]]
    layout, start = ("Q", 8) if big else ("I", 4)
    if len(data) < start + struct.calcsize(layout):
        return 0
    return int(struct.unpack_from(order + layout, data, start)[0])


def _directory(data: bytes, position: int, big: bool, parent: Directory | None = None) -> Directory | None:
    """The directory at `position`; None where there is none."""
    order = _MAGIC[data[:4]]
    word = "u8" if big else "u4"
    counter, entry = np.dtype("u8" if big else "u2"), np.dtype([("tag", "u2"), ("type", "u2"), ("count", word)])
    width = np.dtype(word).itemsize
    size = entry.itemsize + width
    start = position + counter.itemsize
    if position < 8 or start > len(data):
        return None
    count = int(np.frombuffer(data, counter.newbyteorder(order), 1, position)[0])
    end = start + count * size
    if not 0 < count <= _MOST_TAGS or end > len(data):
        return None
    layout = np.dtype([*((name, entry[name]) for name in ("tag", "type", "count")), ("value", word)])
    entries = np.frombuffer(data, layout.newbyteorder(order), count, start).tolist()
    places: dict[int, tuple[int, int, int]] = {}
    for index, (tag, kind, number, value) in enumerate(entries):
        length = number * np.dtype(_TYPES[kind]).itemsize if kind in _TYPES else 0
        place = start + index * size + entry.itemsize if length <= width else value
        if length and place + length <= len(data):
            places.setdefault(tag, (kind, number, place))
    following = np.frombuffer(data, np.dtype(word).newbyteorder(order), 1, end) if end + width <= len(data) else [0]
    return Directory(data, order, places, int(following[0]), parent)


def rewritten(directory: Directory, changes: Mapping[Tag, npt.ArrayLike | None]) -> bytes:
    """The file with one plain directory behind its end: the tags of `directory` that count, and `changes`.

    The pixels stay where they are. A change is the number or numbers of a tag, or None, which leaves the tag out.
    """
    fields = {tag: field for tag in _REWRITTEN & set(directory.places) if (field := _field(directory, tag))}
    for tag, value in changes.items():
        fields.pop(tag, None)
        if value is not None:
            numbers = np.atleast_1d(np.asarray(value)).astype(np.dtype("u4").newbyteorder(directory.order))
            fields[tag] = (_LONG, numbers.size, numbers.tobytes())
    mark = {"<": b"II*\0", ">": b"MM\0*"}[directory.order]
    start = len(directory.data)
    head = mark + struct.pack(directory.order + "I", start)
    return b"".join([head, memoryview(directory.data)[8:], *_written(fields, directory.order, start)])


def _field(directory: Directory, tag: Tag) -> tuple[int, int, bytes] | None:
    """Type, count and bytes of a tag; numbers of 64 bits, which only BigTIFF has, as 32."""
    kind, count, _ = directory.places[tag]
    if kind < 16:
        return kind, count, directory.raw(tag)
    numbers = directory.numbers(tag)
    if numbers.min() < 0 or numbers.max() >= 2**32:
        return None
    return _LONG, count, numbers.astype(np.dtype("u4").newbyteorder(directory.order)).tobytes()


def _written(fields: Mapping[Tag, tuple[int, int, bytes]], order: Order, start: int) -> Iterator[bytes]:
    """A directory at `start`, then the values that do not fit into it."""
    yield struct.pack(order + "H", len(fields))
    place = start + 2 + 12 * len(fields) + 4
    apart: list[bytes] = []
    for tag, (kind, count, value) in sorted(fields.items()):
        yield struct.pack(order + "HHI", tag, kind, count)
        if len(value) <= 4:
            yield value.ljust(4, b"\0")
        else:
            yield struct.pack(order + "I", place)
            apart.append(value)
            place += len(value)
    yield bytes(4)
    yield from apart
