"""PBM, PGM, PPM, PAM and PFM, binary and in plain text, with any highest value."""

from __future__ import annotations

import io

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lseg_serve.segmenter.errors import ImageTooLargeError, InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding import Reading, decode_image
from tests.support.damage import assert_pixels_or_answer
from tests.support.pictures import noise

LIMIT = 1_000_000
HEIGHT, WIDTH = 11, 19
PICTURE = noise(HEIGHT, WIDTH)
GREY = np.ascontiguousarray(PICTURE[..., 0])
SIZE = f"{WIDTH} {HEIGHT}"


def _rgb(grey: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return np.repeat(grey[..., None], 3, axis=2)


def _shows(data: bytes, expected: npt.NDArray[np.generic], reading: Reading | None = None) -> None:
    found = decode_image(data, LIMIT, *([] if reading is None else [reading]))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def _numbers(highest: int, *shape: int) -> npt.NDArray[np.integer]:
    numbers = np.random.default_rng(highest).integers(0, highest, shape, endpoint=True)
    numbers.flat[:2] = 0, highest
    return numbers


def _file(kind: str, numbers: npt.NDArray[np.integer], highest: int) -> bytes:
    """P2 and P3 in plain text, P5 and P6 in bytes."""
    head = f"{kind}\n{numbers.shape[1]} {numbers.shape[0]}\n{highest}\n"
    if kind in ("P2", "P3"):
        return (head + "\n".join(" ".join(map(str, row.ravel())) for row in numbers)).encode()
    return head.encode() + numbers.astype(np.uint8 if highest < 256 else ">u2").tobytes()


def _shade(numbers: npt.NDArray[np.integer], highest: int) -> npt.NDArray[np.float64]:
    """Up to 255 the nearest of 256 values, above it the upper 8 of 16 bits."""
    return np.rint(numbers * 255 / highest) if highest < 256 else np.rint(numbers * 65535 / highest) // 256


@pytest.mark.parametrize("highest", [1, 7, 100, 254, 255, 256, 1023, 4095, 32767, 65534, 65535])
@pytest.mark.parametrize("kind", ["P2", "P5"])
def test_grey_of_every_highest_value_is_scaled(kind: str, highest: int) -> None:
    numbers = _numbers(highest, HEIGHT, WIDTH)
    _shows(_file(kind, numbers, highest), _rgb(_shade(numbers, highest)))


@pytest.mark.parametrize("highest", [1, 100, 255, 4095, 65535])
@pytest.mark.parametrize("kind", ["P3", "P6"])
def test_colours_of_every_highest_value_are_scaled(kind: str, highest: int) -> None:
    numbers = _numbers(highest, HEIGHT, WIDTH, 3)
    _shows(_file(kind, numbers, highest), _shade(numbers, highest))


@pytest.mark.parametrize("highest", [100, 255, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_the_values_are_those_that_pillow_finds(kind: str, highest: int) -> None:
    numbers = _numbers(highest, HEIGHT, WIDTH, 3) if kind in ("P3", "P6") else _numbers(highest, HEIGHT, WIDTH)
    data = _file(kind, numbers, highest)
    pillows = Image.open(io.BytesIO(data))
    expected = np.asarray(pillows) // 257 if pillows.mode.startswith("I") else np.asarray(pillows.convert("RGB"))
    found = decode_image(data, LIMIT)
    assert np.abs(found.astype(int) - (expected if expected.ndim == 3 else _rgb(expected)).astype(int)).max() <= 1


def test_the_values_of_sixteen_bits_are_those_that_opencv_finds() -> None:
    data = _file("P6", _numbers(65535, HEIGHT, WIDTH, 3), 65535)
    opencvs = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR))
    _shows(data, opencvs[..., ::-1] >> 8)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 19])
def test_a_bitmap_is_black_where_its_bits_are_one(width: int) -> None:
    ones = noise(HEIGHT, width)[..., 0] > 99
    expected = _rgb(np.where(ones, 0, 255))
    _shows(f"P4 {width} {HEIGHT}\n".encode() + np.packbits(ones, axis=1).tobytes(), expected)
    rows = ["".join("01"[one] for one in row) for row in ones.astype(int)]
    _shows(f"P1\n{width} {HEIGHT}\n".encode() + "\n".join(rows).encode(), expected)
    _shows(f"P1\n{width} {HEIGHT}\n".encode() + " ".join(" ".join(row) for row in rows).encode(), expected)


@pytest.mark.parametrize(
    "head", ["P5#made by hand\n{}\n255\n", "P5 # one\n# two\n {} # three\n 255\n", "P5\t{}\r255\r", "P5\n{} 255 "]
)
def test_a_header_may_hold_comments_and_any_space(head: str) -> None:
    _shows(head.format(SIZE).encode() + GREY.tobytes(), _rgb(GREY))


def test_plain_text_may_hold_comments_between_its_numbers() -> None:
    _shows(b"P2 2 2 9 # the first row\n0 9# the second\n9 0", _rgb(np.array([[0, 255], [255, 0]])))


def test_a_first_pixel_that_is_a_line_end_is_a_pixel() -> None:
    _shows(b"P5 3 1 255\n\n\n#", _rgb(np.array([[10, 10, 35]])))


def test_of_several_pictures_the_first_is_taken() -> None:
    one = _file("P5", GREY, 255)
    _shows(one + _file("P5", 255 - GREY, 255), _rgb(GREY))


def _pam(numbers: npt.NDArray[np.integer], highest: int, kind: str) -> bytes:
    height, width, depth = numbers.shape
    head = (
        f"P7\nWIDTH {width}\n# a comment\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL {highest}\nTUPLTYPE {kind}\nENDHDR\n"
    )
    return head.encode() + numbers.astype(np.uint8 if highest < 256 else ">u2").tobytes()


@pytest.mark.parametrize("highest", [255, 1023, 65535])
def test_a_pam_without_alpha_is_shown(highest: int) -> None:
    numbers = _numbers(highest, HEIGHT, WIDTH, 3)
    _shows(_pam(numbers, highest, "RGB"), _shade(numbers, highest))
    _shows(_pam(numbers[..., :1], highest, "GRAYSCALE"), _rgb(_shade(numbers[..., 0], highest)))
    _shows(_pam(numbers[..., :1] % 2, 1, "BLACKANDWHITE"), _rgb(numbers[..., 0] % 2 * 255))


@pytest.mark.parametrize("depth", [2, 4])
@pytest.mark.parametrize("highest", [255, 65535])
def test_the_alpha_of_a_pam_lies_over_white(depth: int, highest: int) -> None:
    numbers = _numbers(highest, HEIGHT, WIDTH, depth)
    shades = _shade(numbers, highest)
    share = shades[..., -1:] / 255
    expected = np.broadcast_to(shades[..., :-1] * share + 255 * (1 - share), PICTURE.shape)
    found = decode_image(_pam(numbers, highest, "RGB_ALPHA" if depth == 4 else "GRAYSCALE_ALPHA"), LIMIT)
    assert np.abs(found - expected).max() <= 1


def test_a_pam_of_many_bands_is_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="a PAM of 5 bands is not served; accepted: up to 4"):
        decode_image(_pam(_numbers(255, HEIGHT, WIDTH, 5), 255, "ODD"), LIMIT)


@pytest.mark.parametrize(("order", "scale"), [("<", "-1.0"), (">", "1.0")])
@pytest.mark.parametrize("kind", ["Pf", "PF"])
def test_floats_are_scaled_and_their_lowest_row_comes_first(order: str, scale: str, kind: str) -> None:
    values = (PICTURE if kind == "PF" else GREY).astype(np.float64) / 255
    data = f"{kind}\n{SIZE}\n{scale}\n".encode() + values[::-1].astype(f"{order}f4").tobytes()
    _shows(data, PICTURE if kind == "PF" else _rgb(GREY))


def test_floats_without_a_usual_range_ask_for_one() -> None:
    data = b"Pf 2 1 -1\n" + np.array([[0, 5000]], "<f4").tobytes()
    with pytest.raises(UnsupportedImageError, match="range=0,5000"):
        decode_image(data, LIMIT)
    _shows(data, _rgb(np.array([[0, 255]])), Reading(range=(0, 5000)))


def test_a_range_counts_in_the_numbers_of_the_file() -> None:
    numbers = np.array([[0, 500, 1000, 65535]])
    _shows(_file("P5", numbers, 65535), _rgb(np.array([[0, 128, 255, 255]])), Reading(range=(0, 1000)))


def test_bands_are_chosen_by_number() -> None:
    _shows(_file("P6", PICTURE, 255), PICTURE[..., ::-1], Reading(bands=(3, 2, 1)))
    _shows(_file("P6", PICTURE, 255), _rgb(PICTURE[..., 1]), Reading(bands=(2,)))


@pytest.mark.parametrize(
    "data",
    [
        b"P5\n",
        b"P5 4 4\n",
        b"P5 4 4 255",
        b"P5 0 4 255\n",
        b"P5 4 -4 255\n0000",
        b"P5 4 4 0\n" + bytes(16),
        b"P5 4 4 65536\n" + bytes(32),
        b"P5 4 4 255\n" + bytes(15),
        b"P6 4 4 4095\n" + bytes(95),
        b"P4 9 4\n" + bytes(7),
        b"P1 3 1\n01",
        b"P2 3 1 9\n1 2",
        b"P2 3 1 9\n1 2 10",
        b"P2 3 1 9\n1 2 -1",
        b"P2 3 1 9\n1 x 2",
        b"P2 3 1 9\n1 2 \n",
        b"P2 3 1 65535\n1 2 4294967297",
        b"P3 1 1 255\n1 2",
        b"P7\nWIDTH 2\nHEIGHT 2\nENDHDR\n",
        b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 1\nMAXVAL 255\n",
        b"PF 2 2 -1.0\n" + bytes(47),
    ],
    ids=lambda data: data[:18].decode("latin-1").replace("\n", " "),
)
def test_a_damaged_file_is_refused_with_400(data: bytes) -> None:
    with pytest.raises(InvalidImageError, match="truncated or damaged") as caught:
        decode_image(data, LIMIT)
    assert caught.value.status == 400


@pytest.mark.parametrize("kind", ["P1", "P2", "P3", "P4", "P5", "P6", "Pf"])
def test_a_size_that_is_too_large_is_refused_before_it_takes_memory(kind: str) -> None:
    with pytest.raises(ImageTooLargeError, match="60000x60000"):
        decode_image(f"{kind} 60000 60000 255\n".encode(), LIMIT)


def test_a_text_that_begins_with_the_letters_is_no_picture() -> None:
    with pytest.raises(UnsupportedImageError):
        decode_image(b"P3RSON: a name that begins like a picture", LIMIT)


SEEDS: dict[str, bytes] = {
    "P1": b"P1 5 4\n" + b"01010\n" * 4,
    "P2": _file("P2", _numbers(100, 4, 5), 100),
    "P5": _file("P5", _numbers(4095, 4, 5), 4095),
    "P6": _file("P6", _numbers(255, 4, 5, 3), 255),
    "P7": _pam(_numbers(255, 4, 5, 4), 255, "RGB_ALPHA"),
    "PF": b"PF 5 4 -1.0\n" + (np.arange(60) / 60).astype("<f4").tobytes(),
}


@pytest.mark.parametrize("data", SEEDS.values(), ids=SEEDS.keys())
def test_flipped_bytes_give_pixels_or_an_error_with_an_answer(data: bytes) -> None:
    for seed in range(300):
        random = np.random.default_rng(seed)
        damaged = bytearray(data)
        for place in random.integers(0, min(len(data), 20 if seed % 2 else len(data)), random.integers(1, 4)):
            damaged[place] = random.choice([*b"0179 \n#PF", random.integers(0, 256)])
        assert_pixels_or_answer(bytes(damaged))
