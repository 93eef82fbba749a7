"""Damage to a file: anywhere, and where its kind keeps sizes, numbers and checksums."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from tests.support.pictures import PNG_SIGNATURE

_EDGES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damaged(rng: random.Random, name: str, file: bytes, others: list[bytes]) -> bytes:
    """`file`, of the kind `name`, with one to four kinds of damage. `others` are files to splice it with."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        structural = _structure_of(file)
        if structural is not None and rng.random() < 0.6:
            file = structural(rng, file)
        elif rng.random() < 0.1:
            other = rng.choice(others)
            file = file[: rng.randint(0, len(file))] + other[rng.randint(0, len(other)) :]
        else:
            file = rng.choice(_ANYWHERE)(rng, file)
    return file


def _structure_of(file: bytes) -> Callable[[random.Random, bytes], bytes] | None:
    """What knows the structure of a file that begins so."""
    if file.startswith(PNG_SIGNATURE):
        return _png
    if file.startswith(b"\xff\xd8"):
        return _jpeg
    if file[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff
    if file[4:8] in (b"ftyp", b"jP  ", b"JXL "):
        return _boxes
    if file[:4] == b"RIFF":
        return _riff
    return None


def _flip(rng: random.Random, file: bytes) -> bytes:
    data = bytearray(file)
    for _ in range(rng.choice((1, 1, 3, 20)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _edge(rng: random.Random, file: bytes) -> bytes:
    """A number at the limits of its type, most often near the start, where headers are."""
    size = rng.choice((1, 2, 4, 8))
    if len(file) <= size:
        return file
    end = len(file) - size
    place = rng.randint(0, min(end, 128) if rng.random() < 0.7 else end)
    number = rng.choice(_EDGES) & ((1 << 8 * size) - 1)
    return _put(file, place, number.to_bytes(size, rng.choice(("little", "big"))))


def _cut(rng: random.Random, file: bytes) -> bytes:
    return file[: rng.randint(0, len(file))]


def _without_a_part(rng: random.Random, file: bytes) -> bytes:
    start = rng.randint(0, len(file))
    return file[:start] + file[start + rng.choice((1, 2, 16, 200)) :]


def _repeated_part(rng: random.Random, file: bytes) -> bytes:
    start = rng.randint(0, len(file))
    part = file[start : start + rng.choice((1, 8, 100))]
    return file[:start] + part * rng.choice((2, 3, 50)) + file[start + len(part) :]


def _noise(rng: random.Random, file: bytes) -> bytes:
    start = rng.randint(0, len(file))
    return file[:start] + rng.randbytes(rng.choice((1, 4, 64))) + file[start:]


_ANYWHERE: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flip,
    _flip,
    _edge,
    _edge,
    _cut,
    _without_a_part,
    _repeated_part,
    _noise,
)


def _png(rng: random.Random, file: bytes) -> bytes:
    """Chunks changed, swapped, repeated or lost, mostly with a right checksum, so that the change is believed."""
    chunks: list[list[bytes]] = []
    place = 8
    while place + 12 <= len(file) and len(chunks) < 200:
        length = int.from_bytes(file[place : place + 4], "big")
        chunks.append([file[place + 4 : place + 8], file[place + 8 : place + 8 + length]])
        place += 12 + length
    if not chunks:
        return _flip(rng, file)
    one = rng.randrange(len(chunks))
    what = rng.randrange(6)
    if what == 0:
        chunks.insert(rng.randrange(len(chunks) + 1), chunks[one])
    elif what == 1:
        del chunks[one]
    elif what == 2:
        chunks[one][0] = rng.choice(
            (b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"IDAT", b"zTXt", b"gAMA")
        )
    elif what == 3 and chunks[one][0] == b"IDAT":
        pixels = rng.randbytes(rng.choice((0, 10, 5000, 200_000)))
        chunks[one][1] = zlib.compress(pixels)
    else:
        chunks[one][1] = rng.choice((_edge, _flip, _cut))(rng, chunks[one][1])
    parts = [PNG_SIGNATURE]
    for kind, content in chunks:
        checksum = zlib.crc32(kind + content) ^ (rng.random() < 0.05)
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))
    return b"".join(parts)


def _jpeg(rng: random.Random, file: bytes) -> bytes:
    """A segment's length, content or place."""
    segments: list[tuple[int, int]] = []
    place = 2
    while place + 4 <= len(file) and file[place] == 0xFF and file[place + 1] != 0xDA and len(segments) < 100:
        length = int.from_bytes(file[place + 2 : place + 4], "big")
        segments.append((place, max(length, 2) + 2))
        place += max(length, 2) + 2
    if not segments:
        return _flip(rng, file)
    start, length = rng.choice(segments)
    segment = file[start : start + length]
    what = rng.randrange(5)
    if what == 0:
        changed = segment * 2
    elif what == 1:
        changed = b""
    elif what == 2:
        changed = segment[:1] + bytes([rng.randrange(0xC0, 0x100)]) + segment[2:]
    elif what == 3:
        changed = segment[:2] + rng.choice(_EDGES[:11]).to_bytes(2, "big", signed=False) + segment[4:]
    else:
        changed = segment[:4] + rng.choice((_edge, _flip))(rng, segment[4:])
    return file[:start] + changed + file[start + length :]


def _tiff(rng: random.Random, file: bytes) -> bytes:
    """A tag, a type, a count or a value of the first directory."""
    order = "<" if file[:2] == b"II" else ">"
    big = file[2:4] in (b"+\0", b"\0+")
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), file, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), file, start)
    except (struct.error, OverflowError):
        return _flip(rng, file)
    entry = start + (8 if big else 2) + rng.randrange(max(1, min(count, 60))) * (20 if big else 12)
    offset, form = rng.choice(((0, "H"), (2, "H"), (4, "Q" if big else "I"), (12 if big else 8, "Q" if big else "I")))
    if entry + offset + struct.calcsize(form) > len(file):
        return _flip(rng, file)
    number = rng.choice(
        (*_EDGES, rng.randrange(0x8000), 256, 257, 258, 259, 262, 277, 317, 322, 338, 339, start, len(file))
    )
    return _put(file, entry + offset, struct.pack(order + form, number & ((1 << 8 * struct.calcsize(form)) - 1)))


def _boxes(rng: random.Random, file: bytes) -> bytes:
    """The size, the name or the content of a box, at any depth, as its name is found."""
    names = (
        b"ftyp",
        b"meta",
        b"hdlr",
        b"pitm",
        b"iloc",
        b"iinf",
        b"iprp",
        b"ipco",
        b"ispe",
        b"pixi",
        b"ipma",
        b"mdat",
        b"jp2h",
        b"ihdr",
        b"colr",
        b"jp2c",
        b"jxlc",
        b"av1C",
        b"hvcC",
        b"irot",
        b"imir",
    )
    places = [place for name in names if (place := file.find(name)) >= 4]
    if not places:
        return _flip(rng, file)
    place = rng.choice(places)
    what = rng.randrange(3)
    if what == 0:
        return _put(file, place - 4, rng.choice(_EDGES).to_bytes(4, "big"))
    if what == 1:
        return _put(file, place, rng.choice(names))
    return _put(file, place + 4 + rng.randrange(40), rng.choice(_EDGES).to_bytes(4, "big"))


def _riff(rng: random.Random, file: bytes) -> bytes:
    return _put(file, rng.choice((4, 12, 16, 20, 24, 26, 28)), rng.choice(_EDGES).to_bytes(4, "little"))


def _put(file: bytes, place: int, content: bytes) -> bytes:
    return (file[:place] + content + file[place + len(content) :])[: max(len(file), place)]
