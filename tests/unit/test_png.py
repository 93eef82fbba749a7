"""A PNG is shown if its picture is whole, whatever is wrong with what only adds to it, as viewers do."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lseg_serve.segmenter.errors import InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding import decode_image
from tests.support.pictures import PNG_SIGNATURE, encoded, exif_orientation, gradient, noise, png, png_chunk
from tests.support.profiles import ADOBE_RGB, gamma, rgb_profile, shown

LIMIT = 1_000_000
PICTURE = gradient(24, 40)
HEADER_END = 33  # signature 8, header chunk 25
IMAGE_END = 12
BIG_TEXT = b"x" * (2 << 20)


def _with(*chunks: bytes, behind: bytes = b"") -> bytes:
    """PICTURE as PNG, with `chunks` in front of its pixels and others `behind` them."""
    data = encoded(PICTURE)
    return data[:HEADER_END] + b"".join(chunks) + data[HEADER_END:-IMAGE_END] + behind + data[-IMAGE_END:]


def _wrong(chunk: bytes) -> bytes:
    """The chunk, its checksum wrong."""
    return chunk[:-4] + bytes([chunk[-4] ^ 0xFF]) + chunk[-3:]


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"zTXt", b"mxfile\0\0" + zlib.compress(BIG_TEXT)),
        png_chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(BIG_TEXT)),
        png_chunk(b"tEXt", b"workflow\0" + BIG_TEXT),
        png_chunk(b"zTXt", b"text\0\0" + b"no zlib stream"),
        png_chunk(b"zTXt", b"text\0\7" + zlib.compress(b"unknown method")),
        _wrong(png_chunk(b"tEXt", b"Title\0a title")),
        _wrong(png_chunk(b"tIME", bytes(7))),
        _wrong(png_chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(bytes(3144)))),
        png_chunk(b"iCCP", b"huge\0\0" + zlib.compress(bytes(3 << 20))),
        png_chunk(b"iCCP", b"odd\0\7" + zlib.compress(bytes(100))),
        png_chunk(b"iCCP", b"cut"),
        png_chunk(b"pHYs", b"\1"),
        png_chunk(b"cHRM", b"short"),
        png_chunk(b"gAMA", b""),
        png_chunk(b"tRNS", b"\1"),
        png_chunk(b"eXIf", b""),
        png_chunk(b"acTL", b"\1"),
        png_chunk(b"caBX", noise(100, 100).tobytes()),
        png_chunk(b"acTL", struct.pack(">II", 0, 0)),
    ],
    ids=[
        "2 MB of zTXt",
        "2 MB of iTXt",
        "2 MB of tEXt",
        "broken zTXt",
        "zTXt by an unknown method",
        "wrong checksum of text",
        "wrong checksum of time",
        "wrong checksum of profile",
        "huge profile",
        "profile by an unknown method",
        "cut profile",
        "short resolution",
        "short primaries",
        "no gamma",
        "short transparency",
        "empty EXIF",
        "short animation control",
        "manifest of origin",
        "animation without frames",
    ],
)
def test_a_fault_beside_the_picture_does_not_matter(chunk: bytes) -> None:
    np.testing.assert_array_equal(decode_image(_with(chunk), LIMIT), PICTURE)
    if chunk[4:8] != b"tRNS":
        np.testing.assert_array_equal(decode_image(_with(behind=chunk), LIMIT), PICTURE)


def test_what_the_picture_needs_is_kept_beside_a_fault() -> None:
    profile = png_chunk(b"iCCP", b"Adobe RGB\0\0" + zlib.compress(rgb_profile(ADOBE_RGB, gamma(2.19921875))))
    turned = png_chunk(b"eXIf", exif_orientation(3).removeprefix(b"Exif\x00\x00"))
    clear = png_chunk(b"tRNS", struct.pack(">3H", *PICTURE[0, 0]))
    found = decode_image(_with(_wrong(png_chunk(b"tEXt", b"a\0b")), profile, clear, behind=turned), LIMIT)
    expected = shown(PICTURE, ADOBE_RGB, gamma(2.19921875))
    expected[0, 0] = 255
    assert np.abs(found - expected[::-1, ::-1]).max() <= 2


@pytest.mark.parametrize("ending", [b"", b"behind the end", bytes(100)], ids=["missing", "longer", "zeros"])
def test_the_end_may_be_missing_or_have_more_behind_it(ending: bytes) -> None:
    data = encoded(PICTURE)
    whole = data[:-IMAGE_END] if not ending else data + ending
    np.testing.assert_array_equal(decode_image(whole, LIMIT), PICTURE)


@pytest.mark.parametrize("lost", [1, 4, 8, 11])
def test_the_end_may_be_cut(lost: int) -> None:
    np.testing.assert_array_equal(decode_image(encoded(PICTURE)[:-lost], LIMIT), PICTURE)


@pytest.mark.parametrize("lost", [13, 17, 40, 200])
def test_a_file_that_is_cut_within_its_picture_is_refused_with_400(lost: int) -> None:
    with pytest.raises(InvalidImageError, match="truncated or damaged"):
        decode_image(encoded(noise(24, 40))[: -IMAGE_END - lost], LIMIT)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_wrong_checksum_of_the_picture_is_refused_with_400(kind: bytes) -> None:
    data = bytearray(encoded(Image.fromarray(PICTURE).quantize(8) if kind == b"PLTE" else PICTURE))
    place = data.find(kind)
    data[place + 4 + int.from_bytes(data[place - 4 : place], "big")] ^= 0xFF
    with pytest.raises(InvalidImageError, match="truncated or damaged"):
        decode_image(bytes(data), LIMIT)


def test_very_many_chunks_are_refused_with_400() -> None:
    """Each is 12 bytes of the file: one as large as an upload may be would keep a worker busy for seconds."""
    with pytest.raises(InvalidImageError, match="more than 100000 chunks"):
        decode_image(_with(png_chunk(b"tEXt", b"") * 100_001), LIMIT)


def test_the_png_of_an_iphone_app_is_named() -> None:
    data = PNG_SIGNATURE + png_chunk(b"CgBI", b"\x50\0\x20\2") + encoded(PICTURE)[8:]
    with pytest.raises(UnsupportedImageError, match=r"CgBI.*pngcrush"):
        decode_image(data, LIMIT)


@pytest.mark.parametrize("depth", [1, 8])
def test_pixels_of_a_palette_that_is_missing_are_damage(depth: int) -> None:
    rows = (b"\0" + bytes(3 * depth)) * 16
    with pytest.raises(InvalidImageError, match="damaged"):
        decode_image(png(24, 16, depth, 3, rows), 1_000_000)
