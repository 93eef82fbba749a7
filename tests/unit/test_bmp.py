"""BMPs of every header and arrangement of bits come out as the picture that is in them, or are refused."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lseg_serve.segmenter.errors import (
    ImageTooLargeError,
    InvalidImageError,
    InvalidOptionError,
    UnsupportedImageError,
)
from lseg_serve.segmenter.preprocessing.decoding import Reading, decode_image
from tests.support.damage import assert_pixels_or_answer
from tests.support.pictures import Pixels, encoded, noise

LIMIT = 1_000_000
HEIGHT, WIDTH = 12, 17
PICTURE = noise(HEIGHT, WIDTH)
ALPHA = np.ascontiguousarray(noise(HEIGHT, WIDTH, 1)[..., 0])
BIT_FIELDS, ALPHA_BIT_FIELDS = 3, 6
HEADERS = (40, 52, 56, 108, 124)

Masks = tuple[int, ...]


def _bmp(
    bits: int,
    pixels: bytes,
    *,
    masks: Masks = (),
    header: int = 40,
    compression: int = BIT_FIELDS,
    height: int = HEIGHT,
    width: int = WIDTH,
    palette: bytes = b"",
) -> bytes:
    """A BMP by hand; a header of 40 bytes has its masks behind it, a longer one in it."""
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(pixels), 2835, 2835, 0, 0)
    info += struct.pack(f"<{len(masks)}I", *masks)
    info = info.ljust(header, b"\0") + palette
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + pixels


def _stored(words: npt.NDArray[np.integer], kind: str) -> bytes:
    """Rows from the lowest up, each filled up to a multiple of four bytes."""
    rows = words[::-1].astype(kind)
    return b"".join(row.tobytes() + bytes(-row.nbytes % 4) for row in rows)


def _words(masks: Masks, channels: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """The upper bits of each channel, where its mask has them."""
    words = np.zeros(channels.shape[:2], np.uint64)
    for channel, mask in zip(np.moveaxis(channels, 2, 0), masks, strict=False):
        lowest, bits = (mask & -mask).bit_length() - 1, mask.bit_count()
        field = channel.astype(np.uint64) << max(bits - 8, 0) >> max(8 - bits, 0)
        words |= field << lowest
    return words


def _in_bits(values: Pixels, bits: int) -> npt.NDArray[np.float64]:
    """8-bit values as fewer bits show them, their largest value as 255."""
    return np.rint((values >> (8 - bits)).astype(float) * 255 / (2**bits - 1)) if bits < 8 else values.astype(float)


def _shows(data: bytes, expected: npt.NDArray[np.generic]) -> None:
    np.testing.assert_array_equal(decode_image(data, LIMIT), expected)


RGB32 = {
    "BGRX": (0xFF0000, 0xFF00, 0xFF),
    "RGBX": (0xFF, 0xFF00, 0xFF0000),
    "XRGB": (0xFF00, 0xFF0000, 0xFF000000),
    "XBGR": (0xFF000000, 0xFF0000, 0xFF00),
    "GRB": (0xFF00, 0xFF, 0xFF0000),
    "10-10-10": (0x3FF, 0xFFC00, 0x3FF00000),
    "12-8-10": (0xFFF, 0xFF000, 0x3FF00000),
}
RGB16 = {
    "565": (0xF800, 0x7E0, 0x1F),
    "555": (0x7C00, 0x3E0, 0x1F),
    "565 turned round": (0x1F, 0x7E0, 0xF800),
    "444": (0xF00, 0xF0, 0xF),
    "332": (0xE0, 0x1C, 0x3),
    "664": (0xFC00, 0x3F0, 0xF),
}


@pytest.mark.parametrize("masks", RGB32.values(), ids=RGB32.keys())
@pytest.mark.parametrize("header", HEADERS)
def test_colours_of_32_bits_may_lie_in_any_order(masks: Masks, header: int) -> None:
    _shows(_bmp(32, _stored(_words(masks, PICTURE), "<u4"), masks=masks, header=header), PICTURE)


@pytest.mark.parametrize("masks", RGB16.values(), ids=RGB16.keys())
def test_colours_of_16_bits_are_spread_over_all_values(masks: Masks) -> None:
    expected = np.dstack([_in_bits(PICTURE[..., channel], masks[channel].bit_count()) for channel in range(3)])
    _shows(_bmp(16, _stored(_words(masks, PICTURE), "<u2"), masks=masks), expected)


@pytest.mark.parametrize("masks", [RGB32["BGRX"], RGB32["RGBX"]])
def test_the_values_are_those_that_opencv_finds(masks: Masks) -> None:
    data = _bmp(32, _stored(_words(masks, PICTURE), "<u4"), masks=masks, header=108)
    if masks == RGB32["BGRX"]:  # others OpenCV does not know
        _shows(data, np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)))
    _shows(data, PICTURE)


@pytest.mark.parametrize(
    ("masks", "bits"),
    [
        ((0xFF0000, 0xFF00, 0xFF, 0xFF000000), 32),
        ((0xFF, 0xFF00, 0xFF0000, 0xFF000000), 32),
        ((0xFF000000, 0xFF0000, 0xFF00, 0xFF), 32),
        ((0x7C00, 0x3E0, 0x1F, 0x8000), 16),
        ((0xF00, 0xF0, 0xF, 0xF000), 16),
    ],
    ids=["BGRA", "RGBA", "ABGR", "5551", "4444"],
)
@pytest.mark.parametrize(("header", "compression"), [(56, 3), (108, 3), (124, 3), (40, 6), (124, 6)])
def test_alpha_lies_over_white(masks: Masks, bits: int, header: int, compression: int) -> None:
    words = _stored(_words(masks, np.dstack([PICTURE, ALPHA])), f"<u{bits // 8}")
    channels = [
        _in_bits(values, mask.bit_count())
        for values, mask in zip([*np.moveaxis(PICTURE, 2, 0), ALPHA], masks, strict=True)
    ]
    share = channels[3][..., None] / 255
    found = decode_image(_bmp(bits, words, masks=masks, header=header, compression=compression), LIMIT)
    assert np.abs(found - (np.dstack(channels[:3]) * share + 255 * (1 - share))).max() <= 1


@pytest.mark.parametrize("header", [56, 108, 124])
def test_an_alpha_that_is_zero_everywhere_is_none(header: int) -> None:
    """Programs that know no alpha leave these bits zero; browsers show such a picture as it is meant."""
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    _shows(_bmp(32, _stored(_words(masks[:3], PICTURE), "<u4"), masks=masks, header=header), PICTURE)


def test_32_bits_without_bit_fields_have_no_alpha() -> None:
    pixels = _stored(_words(RGB32["BGRX"], PICTURE), "<u4")
    _shows(_bmp(32, pixels, compression=0), PICTURE)


def test_the_rows_of_a_negative_height_begin_at_the_top() -> None:
    pixels = _stored(_words(RGB32["RGBX"], PICTURE)[::-1], "<u4")
    _shows(_bmp(32, pixels, masks=RGB32["RGBX"], height=-HEIGHT), PICTURE)


def test_masks_that_are_all_zero_mean_the_usual_order() -> None:
    _shows(_bmp(32, _stored(_words(RGB32["BGRX"], PICTURE), "<u4"), masks=(0, 0, 0), header=108), PICTURE)


@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (32, (0xF0F, 0xF000, 0xFF0000)),
        (16, (0xFF0000, 0xFF00, 0xFF)),
        (32, (0xFF, 0, 0xFF00)),
        (24, (0xFF0000, 0xFF00, 0xFF)),
    ],
    ids=["gaps", "beyond the pixel", "no green", "24 bits"],
)
def test_masks_that_are_no_bit_fields_are_refused(bits: int, masks: Masks) -> None:
    with pytest.raises(UnsupportedImageError, match="bit fields") as caught:
        decode_image(_bmp(bits, bytes(HEIGHT * 4 * WIDTH), masks=masks), LIMIT)
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_bmp(0, b"\xff\xd8\xff" + bytes(99), compression=4), "0 bits and JPEG"),
        (_bmp(2, bytes(99), compression=0), "2 bits and no compression"),
        (_bmp(24, bytes(999), compression=0, header=66), "a header of 66 bytes"),
        (_bmp(32, bytes(99), compression=11), "compression 11"),
    ],
)
def test_what_is_whole_but_not_served_is_called_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedImageError, match=f"a BMP with .*{words}.* is not served") as caught:
        decode_image(data, LIMIT)
    assert caught.value.status == 415


def _runs(bits: int) -> tuple[bytes, Pixels]:
    """A picture in run lengths, from the lowest row up: runs, pixels one by one, a row that ends early, steps."""
    colours = noise(1, 16)[0]
    palette = b"".join(bytes([*colour[::-1].tolist(), 0]) for colour in colours)
    code = 0x11 if bits == 4 else 1  # two pixels in a byte, or one
    alone = bytes([0, 3, 0x12, 0x30] if bits == 4 else [0, 3, 1, 2, 3, 0])  # 1, 2, 3 and up to an even number of bytes
    rows = bytes([5, 7 * code]) + alone + b"\0\0"
    rows += bytes([2, 9 * code]) + b"\0\0"
    rows += bytes([1, 4 * code, 0, 2, 3, 0, 4, 6 * code]) + b"\0\0"  # one of 4, three to the right, four of 6
    rows += bytes([8, 5 * code]) + b"\0\1"
    indices = np.array([[5] * 8, [4, 0, 0, 0, 6, 6, 6, 6], [9, 9, 0, 0, 0, 0, 0, 0], [7] * 5 + [1, 2, 3]])
    palette = palette.ljust(4 << bits, b"\0")
    return _bmp(bits, rows, compression=3 - bits // 4, height=4, width=8, palette=palette), colours[indices]


@pytest.mark.parametrize("bits", [4, 8])
def test_run_lengths_are_decoded(bits: int) -> None:
    data, expected = _runs(bits)
    _shows(data, expected)


@pytest.mark.parametrize("bits", [4, 8])
def test_run_lengths_that_are_cut_are_refused_without_a_word_in_the_log(
    bits: int, capfd: pytest.CaptureFixture[str]
) -> None:
    data, _ = _runs(bits)
    with pytest.raises(InvalidImageError, match="truncated or damaged"):
        decode_image(data[:-12], LIMIT)
    assert capfd.readouterr() == ("", "")


def test_a_run_beyond_its_row_is_cut_at_its_end() -> None:
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    data = _bmp(8, bytes([6, 50, 0, 0, 4, 90, 0, 1]), compression=1, height=2, width=4, palette=palette)
    _shows(data, np.repeat([[[90]], [[50]]], 3, axis=2).repeat(4, axis=1))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_what_pillow_writes_is_shown_as_it_is(mode: str) -> None:
    picture = Image.fromarray(PICTURE).convert(mode)
    _shows(encoded(picture, "BMP"), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_cut_file_is_refused_as_damaged(share: float) -> None:
    data = _bmp(32, _stored(_words(RGB32["RGBX"], PICTURE), "<u4"), masks=RGB32["RGBX"])
    with pytest.raises(InvalidImageError, match="truncated or damaged") as caught:
        decode_image(data[: int(len(data) * share)], LIMIT)
    assert caught.value.status == 400


@pytest.mark.parametrize("compression", [1, 3])
def test_a_size_that_is_too_large_is_refused_before_it_takes_memory(compression: int) -> None:
    data = _bmp(
        8 if compression == 1 else 32,
        bytes(100),
        masks=RGB32["RGBX"],
        compression=compression,
        width=60_000,
        height=60_000,
    )
    with pytest.raises(ImageTooLargeError, match="60000x60000"):
        decode_image(data, LIMIT)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-5, 5)])
def test_a_size_that_is_none_is_refused(width: int, height: int) -> None:
    with pytest.raises(InvalidImageError, match="damaged"):
        decode_image(_bmp(32, bytes(100), masks=RGB32["RGBX"], width=width, height=height), LIMIT)


def test_bands_and_a_range_apply_to_its_colours() -> None:
    data = _bmp(32, _stored(_words(RGB32["RGBX"], PICTURE), "<u4"), masks=RGB32["RGBX"])
    np.testing.assert_array_equal(decode_image(data, LIMIT, Reading(bands=(3, 2, 1))), PICTURE[..., ::-1])
    brighter = decode_image(data, LIMIT, Reading(range=(0, 100)))
    np.testing.assert_array_equal(brighter, np.rint(PICTURE.clip(0, 100) / 100 * 255))
    with pytest.raises(InvalidOptionError, match="accepted: 1 to 3"):
        decode_image(data, LIMIT, Reading(bands=(4,)))


SEEDS = {
    "32 bits": _bmp(32, _stored(_words(RGB32["RGBX"], PICTURE), "<u4"), masks=(*RGB32["RGBX"], 0xFF000000), header=124),
    "16 bits": _bmp(16, _stored(_words(RGB16["565"], PICTURE), "<u2"), masks=RGB16["565"]),
    "run lengths of 8 bits": _runs(8)[0],
    "run lengths of 4 bits": _runs(4)[0],
}


@pytest.mark.parametrize("data", SEEDS.values(), ids=SEEDS.keys())
def test_flipped_bytes_give_pixels_or_an_error_with_an_answer(data: bytes) -> None:
    for seed in range(200):
        random = np.random.default_rng(seed)
        damaged = bytearray(data)
        for place in random.integers(0, min(len(data), 80 if seed % 2 else len(data)), random.integers(1, 5)):
            damaged[place] = random.integers(0, 256)
        assert_pixels_or_answer(bytes(damaged))
