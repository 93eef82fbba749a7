"""PNGs made in bands: every reader gives the pixels back, and the file does not depend on the threads."""

from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from lseg_serve.handler.formats.png import color_picture, colored
from lseg_serve.handler.formats.png_bands import Picture, encode_pngs
from tests.support.pictures import Pixels, gradient, noise


def _pixels(content: bytes) -> Pixels:
    """By Pillow, which checks the checksum of each chunk, and by OpenCV."""
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB" if image.getbands() == ("R", "G", "B") else "RGBA")
        found = np.asarray(image)
    other = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert other is not None
    order = [2, 1, 0, 3][: found.shape[2]]
    np.testing.assert_array_equal(other[..., order], found)
    return found


def _stream(content: bytes) -> bytes:
    """The one stream of all bands, whose checksum zlib compares with its own at the end."""
    start = content.index(b"IDAT") + 4
    return zlib.decompress(content[start : start + int.from_bytes(content[start - 8 : start - 4], "big")])


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (700, 900), (3, 200_001)])
def test_pixels_come_back(shape: tuple[int, int], channels: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (*shape, channels), dtype=np.uint8)
    (content,) = encode_pngs([Picture.of(pixels)])
    np.testing.assert_array_equal(_pixels(content), pixels)
    assert len(_stream(content)) == shape[0] * (1 + shape[1] * channels)


@pytest.mark.parametrize("value", [0, 255])
def test_the_checksum_is_right_where_its_sums_overflow(value: int) -> None:
    pixels = np.full((2000, 1500, 3), value, np.uint8)
    (content,) = encode_pngs([Picture.of(pixels)])
    assert len(_stream(content)) == 2000 * 4501
    assert len(content) < 50_000


def test_the_file_is_the_same_by_any_number_of_threads() -> None:
    pictures = [Picture.of(gradient(500, 700)), Picture.of(noise(3, 5)), Picture.of(noise(640, 480))]
    alone = encode_pngs(pictures, threads=1)
    assert all(len(picture.bands()) > 1 for picture in (pictures[0], pictures[2]))
    assert encode_pngs(pictures, threads=2) == alone
    assert encode_pngs(pictures, threads=7) == alone
    assert [encode_pngs([picture], threads=3)[0] for picture in pictures] == alone


def test_what_goes_wrong_with_a_band_is_raised() -> None:
    def rows(part: slice) -> Pixels:
        if part.start:
            raise MemoryError("no room for a band")
        return noise(part.stop, 900)

    with pytest.raises(MemoryError, match="no room for a band"):
        encode_pngs([Picture(700, 900, 3, rows)], threads=2)


def test_windows_of_larger_arrays_are_encoded() -> None:
    """A cut-out is a view of the image that does not lie in memory row after row."""
    image = noise(90, 120)
    (content,) = encode_pngs([Picture.of(image[10:60, 20:50])])
    np.testing.assert_array_equal(_pixels(content), image[10:60, 20:50])


def test_a_mask_in_colours_is_that_of_its_pixels() -> None:
    mask = np.random.default_rng(1).integers(0, 256, (400, 600), dtype=np.uint8)
    for own in (mask, mask[:, ::2], mask.T):
        (content,) = encode_pngs([color_picture(own)])
        np.testing.assert_array_equal(_pixels(content), colored(own))
