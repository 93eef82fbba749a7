"""PNGs of 16 bits: all bits count, also where the values lie in 12, as microscopes and X-ray detectors store them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lseg_serve.segmenter.errors import InvalidImageError
from lseg_serve.segmenter.preprocessing.decoding import Reading, decode_image
from tests.support.damage import assert_pixels_or_answer
from tests.support.pictures import exif_orientation, noise, png16, png_chunk

LIMIT = 1_000_000
PICTURE = noise(13, 17)
GREY_RGB = np.repeat(PICTURE[..., :1], 3, axis=2)


def _shows(data: bytes, expected: npt.ArrayLike, **reading: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(decode_image(data, LIMIT, Reading(**reading)), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_depth_is_the_smallest_that_holds_the_largest_value(bits: int) -> None:
    values = PICTURE.astype(np.uint16) << (bits - 8) | np.uint16((1 << (bits - 8)) - 1)
    values[0, 0] = (1 << bits) - 1
    shown = (values >> (bits - 8)).astype(np.uint8)
    _shows(png16(values), shown)
    _shows(png16(values[..., 0]), np.repeat(shown[..., :1], 3, axis=2))


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("bands", [2, 4])
def test_alpha_lies_over_white(bits: int, bands: int) -> None:
    alpha = PICTURE[..., 1:2]
    colors = PICTURE[..., : bands - 1]
    values = np.dstack([colors.astype(np.uint16) << (bits - 8) | 15, alpha.astype(np.uint16) * 257])
    values[..., :-1].flat[0] = (1 << bits) - 1
    shown = np.broadcast_to(values[..., :-1] >> (bits - 8), PICTURE.shape)
    expected = shown * (alpha / 255) + 255 * (1 - alpha / 255)
    assert np.abs(decode_image(png16(values), LIMIT) - expected).max() <= 1


def test_a_range_counts_in_the_numbers_of_the_file() -> None:
    values = np.array([[0, 500, 1000, 65535]], np.uint16)
    _shows(png16(values), np.repeat([[[0], [128], [255], [255]]], 3, axis=2), range=(0, 1000))
    _shows(png16(np.dstack([values] * 3)), np.repeat([[[0], [128], [255], [255]]], 3, axis=2), range=(0, 1000))


def test_bands_are_chosen_by_number() -> None:
    values = PICTURE.astype(np.uint16) * 257
    _shows(png16(values), PICTURE[..., ::-1], bands=(3, 2, 1))
    _shows(png16(np.dstack([values, values[..., 0] // 2])), GREY_RGB, bands=(1,))


def test_it_is_turned_upright() -> None:
    data = png16(PICTURE.astype(np.uint16) << np.uint16(4))
    exif = png_chunk(b"eXIf", exif_orientation(3).removeprefix(b"Exif\0\0"))
    np.testing.assert_array_equal(
        decode_image(data[:33] + exif + data[33:], LIMIT), decode_image(data, LIMIT)[::-1, ::-1]
    )


def test_a_transparent_colour_is_white() -> None:
    values = PICTURE.astype(np.uint16) * 257
    values[2:5, 3:9] = (10 * 257, 20 * 257, 30 * 257)
    data = png16(values)
    colour = png_chunk(b"tRNS", np.array([10 * 257, 20 * 257, 30 * 257], ">u2").tobytes())
    expected = PICTURE.copy()
    expected[2:5, 3:9] = 255
    _shows(data[:33] + colour + data[33:], expected)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_cut_file_is_refused_as_damaged(share: float) -> None:
    data = png16(noise(60, 80).astype(np.uint16) * 257)
    with pytest.raises(InvalidImageError, match="truncated or damaged"):
        decode_image(data[: int(len(data) * share)], LIMIT)


def test_flipped_bytes_give_pixels_or_an_error_with_an_answer() -> None:
    data = png16(np.dstack([PICTURE.astype(np.uint16), PICTURE[..., 0].astype(np.uint16)]))
    for seed in range(300):
        random = np.random.default_rng(seed)
        damaged = bytearray(data)
        for place in random.integers(8, 60 if seed % 2 else len(data), random.integers(1, 4)):
            damaged[place] = random.integers(0, 256)
        assert_pixels_or_answer(bytes(damaged))
