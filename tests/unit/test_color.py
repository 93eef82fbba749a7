"""Pictures with a colour profile come out in sRGB, as browsers show them."""

from __future__ import annotations

import io
from itertools import product

import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
import tifffile
from PIL import Image, features

from lseg_serve.segmenter.preprocessing.decoding import decode_image
from tests.support.pictures import PNG_SIGNATURE, Pixels, encoded, gradient, noise, png_chunk
from tests.support.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    gamma,
    grey_profile,
    lab_to_srgb,
    light_to_srgb,
    rgb_profile,
    shown,
    srgb_to_light,
)

LIMIT = 1_000_000
PICTURE = gradient(24, 40)
SPACES = {
    "Display P3": (DISPLAY_P3, srgb_to_light),
    "Adobe RGB": (ADOBE_RGB, gamma(2.19921875)),
    "linear": (SRGB, gamma(1.0)),
}
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
OPTIONS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
FORMATS = ["PNG", "TIFF", "JPEG", "WEBP", pytest.param("AVIF", marks=needs_avif)]


def _close(found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic], tolerance: float) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.astype(float) - expected.astype(float)).max() <= tolerance


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("space", SPACES)
def test_a_wide_gamut_becomes_srgb(space: str, file_format: str) -> None:
    data = encoded(PICTURE, file_format, icc_profile=rgb_profile(*SPACES[space]), **OPTIONS.get(file_format, {}))
    with Image.open(io.BytesIO(data)) as image:
        stored = np.asarray(image.convert("RGB"))
    expected = shown(stored, *SPACES[space])
    assert np.abs(expected - stored).max() > 10
    _close(decode_image(data, LIMIT), expected, 2)


def test_a_wide_gamut_in_heic_becomes_srgb() -> None:
    image = Image.fromarray(PICTURE)
    image.info["icc_profile"] = rgb_profile(*SPACES["Display P3"])
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=-1, chroma=444, matrix_coefficients=0)
    _close(decode_image(file.getvalue(), LIMIT), shown(PICTURE, *SPACES["Display P3"]), 2)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_profile_that_says_srgb_changes_no_value(file_format: str) -> None:
    picture = noise(24, 40)
    plain = encoded(picture, file_format)
    tagged = encoded(picture, file_format, icc_profile=rgb_profile(SRGB, srgb_to_light))
    np.testing.assert_array_equal(decode_image(tagged, LIMIT), decode_image(plain, LIMIT))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF"])
def test_grey_with_a_curve_of_its_own_becomes_srgb(file_format: str) -> None:
    grey = np.ascontiguousarray(PICTURE[..., 0])
    data = encoded(grey, file_format, icc_profile=grey_profile(gamma(1.0)), **OPTIONS.get(file_format, {}))
    with Image.open(io.BytesIO(data)) as image:
        stored = np.asarray(image)
    _close(decode_image(data, LIMIT), np.repeat(light_to_srgb(stored / 255)[..., None], 3, axis=2), 2)


def test_grey_with_the_profile_of_a_screen_becomes_srgb() -> None:
    grey = np.ascontiguousarray(PICTURE[..., 0])
    data = encoded(grey, icc_profile=rgb_profile(*SPACES["linear"]))
    _close(decode_image(data, LIMIT), np.repeat(light_to_srgb(grey / 255)[..., None], 3, axis=2), 2)


def test_sixteen_bits_become_srgb_too() -> None:
    values = PICTURE[..., 0].astype(np.uint16) * 257
    data = encoded(Image.fromarray(values), icc_profile=grey_profile(gamma(1.0)))
    _close(decode_image(data, LIMIT), np.repeat(light_to_srgb(PICTURE[..., :1] / 255), 3, axis=2), 2)


def test_a_tiff_of_sixteen_bits_in_a_wide_gamut_becomes_srgb() -> None:
    file, profile = io.BytesIO(), rgb_profile(*SPACES["Adobe RGB"])
    tifffile.imwrite(file, PICTURE.astype(np.uint16) * 257, photometric="rgb", iccprofile=profile)
    _close(decode_image(file.getvalue(), LIMIT), shown(PICTURE, *SPACES["Adobe RGB"]), 2)


def test_a_palette_becomes_srgb_too() -> None:
    image = Image.fromarray(PICTURE).quantize(64)
    data = encoded(image, icc_profile=rgb_profile(*SPACES["Display P3"]))
    _close(decode_image(data, LIMIT), shown(np.asarray(image.convert("RGB")), *SPACES["Display P3"]), 2)


def test_colours_are_converted_before_they_are_laid_over_white() -> None:
    alpha = np.ascontiguousarray(PICTURE[..., 1])
    data = encoded(np.dstack([PICTURE, alpha]), icc_profile=rgb_profile(*SPACES["Adobe RGB"]))
    share = alpha[..., None] / 255
    _close(decode_image(data, LIMIT), shown(PICTURE, *SPACES["Adobe RGB"]) * share + 255 * (1 - share), 3)


# The 16 mixes of inks as L, a and b in 8 bits. White paper is L 255; each ink darkens it, and colours it in its way.
# All together are black, so that nothing is to be done for a black that is none.
MIXES = [
    (
        255 - 50 * cyan - 50 * magenta - 15 * yellow - 70 * black,
        128 - 15 * cyan + 25 * magenta - 3 * yellow,
        128 - 15 * cyan - 3 * magenta + 25 * yellow,
    )
    for cyan, magenta, yellow, black in product((0, 1), repeat=4)
]
MIXES[-1] = (0, 128, 128)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_inks_become_the_colours_that_their_profile_says(file_format: str) -> None:
    inks = np.array(list(product((0, 255), repeat=4)), np.uint8)
    patches = np.repeat(inks[None].repeat(16, axis=0), 16, axis=1)
    data = encoded(
        Image.frombytes("CMYK", (256, 16), patches.tobytes()),
        file_format,
        icc_profile=cmyk_profile(MIXES),
        **OPTIONS.get(file_format, {}),
    )
    expected = np.array([lab_to_srgb((100 * lightness / 255, a - 128, b - 128)) for lightness, a, b in MIXES])
    _close(decode_image(data, LIMIT)[8, 8::16], expected, 5)


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile",
        rgb_profile(*SPACES["Adobe RGB"])[:300],
        rgb_profile(*SPACES["Adobe RGB"])[:128] + bytes(400),
        grey_profile(gamma(1.0)),
        cmyk_profile(MIXES),
    ],
    ids=["text", "cut", "no tags", "of grey", "of inks"],
)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_profile_that_is_broken_or_of_other_pixels_is_ignored(profile: bytes, file_format: str) -> None:
    plain, tagged = encoded(PICTURE, file_format), encoded(PICTURE, file_format, icc_profile=profile)
    np.testing.assert_array_equal(decode_image(tagged, LIMIT), decode_image(plain, LIMIT))


def test_flipped_bytes_in_a_profile_spoil_no_picture() -> None:
    for profile in (rgb_profile(*SPACES["Adobe RGB"]), cmyk_profile(MIXES)):
        for seed in range(25):
            random = np.random.default_rng(seed)
            damaged = bytearray(profile)
            for place in random.integers(0, 600 if seed % 2 else len(profile), 4):
                damaged[place] = random.integers(0, 256)
            mode = "RGB" if b"RGB " in profile else "CMYK"
            assert decode_image(encoded(Image.new(mode, (8, 8)), "JPEG", icc_profile=bytes(damaged)), LIMIT).shape


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"gAMA", (100_000).to_bytes(4, "big")),
        png_chunk(b"cICP", bytes([12, 13, 0, 1])),
        png_chunk(b"sRGB", b"\0"),
    ],
    ids=["gamma", "coding-independent code points", "sRGB"],
)
def test_what_a_png_says_of_colours_without_a_profile_changes_nothing(chunk: bytes) -> None:
    """Stated in docs/requests.md: of colours only a profile is obeyed."""
    data = encoded(PICTURE)
    _same(PNG_SIGNATURE + data[8:33] + chunk + data[33:], PICTURE)


def _same(data: bytes, expected: Pixels) -> None:
    np.testing.assert_array_equal(decode_image(data, LIMIT), expected)
