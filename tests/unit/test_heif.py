"""HEIC, as telephones write it, comes out as the picture a person sees."""

from __future__ import annotations

import io
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from lseg_serve.segmenter.errors import ImageTooLargeError, InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding import decode_image
from tests.support.damage import assert_pixels_or_answer
from tests.support.pictures import Pixels, exif_orientation, gradient, noise, stored

LIMIT = 1_000_000
PICTURE = gradient(48, 80)
LOSSLESS = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}


def _heic(*images: Image.Image | Pixels, **options: object) -> bytes:
    """A HEIC file of `images`."""
    file = pillow_heif.HeifFile()  # type: ignore[no-untyped-call]
    for image in images:
        file.add_from_pillow(image if isinstance(image, Image.Image) else Image.fromarray(image))
    buffer = io.BytesIO()
    file.save(buffer, **(LOSSLESS | options))
    return buffer.getvalue()


def _ten_bits(values: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> bytes:
    buffer = io.BytesIO()
    height, width = values.shape[:2]
    pillow_heif.encode("RGB;16", (width, height), values.tobytes(), buffer, **LOSSLESS)
    return buffer.getvalue()


def test_a_photo_keeps_every_value() -> None:
    np.testing.assert_array_equal(decode_image(_heic(PICTURE), LIMIT), PICTURE)


@pytest.mark.parametrize("chroma", [420, 422, 444])
def test_a_lossy_photo_keeps_values_nearly(chroma: int) -> None:
    found = decode_image(_heic(PICTURE, quality=95, chroma=chroma, matrix_coefficients=6), LIMIT)
    assert np.abs(found.astype(int) - PICTURE).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_its_own_properties_turn_a_photo_upright_once(orientation: int) -> None:
    """The file says it twice, as telephones do: in its properties and in EXIF, which must not turn it again."""
    data = _heic(stored(PICTURE, orientation), exif=exif_orientation(orientation))
    assert (b"irot" in data or b"imir" in data) == (orientation != 1)
    assert b"Exif" in data
    np.testing.assert_array_equal(decode_image(data, LIMIT), PICTURE)


def test_of_several_photos_the_primary_one_is_taken() -> None:
    first, second = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (50, 20), (0, 0, 255))
    found = decode_image(_heic(first, second, primary_index=1), LIMIT)
    np.testing.assert_array_equal(found, np.full((20, 50, 3), (0, 0, 255)))


def test_a_photo_in_tiles_is_one_picture() -> None:
    picture = noise(200, 300)
    data = _heic(picture, tile_size=128)
    assert b"grid" in data
    np.testing.assert_array_equal(decode_image(data, LIMIT), picture)


def test_transparent_parts_lie_over_white() -> None:
    alpha = np.ascontiguousarray(PICTURE[..., 1])
    found = decode_image(_heic(np.dstack([PICTURE, alpha])), LIMIT)
    share = alpha[..., None] / 255
    assert np.abs(found - (PICTURE * share + 255 * (1 - share))).max() <= 2


def test_of_ten_bits_the_upper_eight_are_kept() -> None:
    values = np.random.default_rng(0).integers(0, 1024, (48, 80, 3)).astype(np.uint16) * 64
    found = decode_image(_ten_bits(values), LIMIT)
    assert np.abs(found.astype(int) - (values >> 8)).max() <= 1


def test_grey_has_three_equal_channels() -> None:
    grey = np.ascontiguousarray(PICTURE[..., 0])
    found = decode_image(_heic(grey, matrix_coefficients=6), LIMIT)
    assert np.abs(found.astype(int) - grey[..., None]).max() <= 2


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(ImageTooLargeError, match="80x48 = 3840 pixels"):
        decode_image(_heic(PICTURE), 3839)


def test_a_picture_that_is_larger_than_it_says_is_refused() -> None:
    """Its header says 16x16 pixels, and the codec's stream 400x400: it must not be decoded as the stream says."""
    data = bytearray(_heic(Image.new("RGB", (400, 400)), quality=10, chroma=420, matrix_coefficients=6))
    place = data.find(b"ispe")
    data[place + 8 : place + 16] = struct.pack(">II", 16, 16)
    with pytest.raises(InvalidImageError, match="exceeds the maximum"):
        decode_image(bytes(data), LIMIT)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused_with_400(share: float) -> None:
    data = _heic(noise(48, 80))
    with pytest.raises(InvalidImageError, match="HEIF image is truncated or damaged") as caught:
        decode_image(data[: int(len(data) * share)], LIMIT)
    assert caught.value.status == 400


def test_another_codec_is_refused_with_415() -> None:
    data = _heic(PICTURE).replace(b"hvc1", b"vvc1")
    with pytest.raises(UnsupportedImageError, match="no still picture in HEVC; convert it to JPEG or PNG"):
        decode_image(data, LIMIT)


def test_flipped_bytes_give_pixels_or_an_error_with_an_answer() -> None:
    data = _heic(noise(20, 30), quality=50, chroma=420, matrix_coefficients=6)
    for seed in range(150):
        random = np.random.default_rng(seed)
        damaged = bytearray(data)
        for place in random.integers(0, len(data), random.integers(1, 5)):
            damaged[place] = random.integers(0, 256)
        assert_pixels_or_answer(bytes(damaged))


def test_pillow_is_left_as_it_is() -> None:
    """Whoever uses the segmenter does not get a Pillow that opens other files than before."""
    decode_image(_heic(PICTURE), LIMIT)
    assert not [name for name in Image.OPEN if "HEI" in name]
