"""Photoshop, icons, Targa, JPEG 2000, JPEG XL: the picture that their programs show, or an error that says why."""

from __future__ import annotations

import io
import struct

import numpy as np
import pillow_jxl  # noqa: F401  # it lets Pillow write JPEG XL
import pytest
from PIL import Image

from lseg_serve.segmenter.errors import ImageTooLargeError, InvalidImageError, SegmenterError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding import decode_image
from tests.support.damage import assert_pixels_or_answer
from tests.support.pictures import Pixels, encoded, exif_orientation, gradient, noise, png, stored
from tests.support.profiles import ADOBE_RGB, gamma, light_to_srgb, rgb_profile, shown

LIMIT = 1_000_000
PICTURE = gradient(24, 40)
ALPHA = np.ascontiguousarray(PICTURE[..., 1])
RGBA = np.dstack([PICTURE, ALPHA])
OVER_WHITE = PICTURE * (ALPHA[..., None] / 255) + 255 * (1 - ALPHA[..., None] / 255)


def _close(data: bytes, expected: np.ndarray[tuple[int, ...], np.dtype[np.generic]], tolerance: float) -> None:
    found = decode_image(data, LIMIT)
    assert found.shape == expected.shape
    assert np.abs(found - expected.astype(float)).max() <= tolerance


# Photoshop


def _packed(row: bytes) -> bytes:
    """PackBits, in the simplest way: up to 128 bytes as they are, behind their number."""
    parts = [row[start : start + 128] for start in range(0, len(row), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def _psd(
    channels: Pixels,
    mode: int = 3,
    *,
    compression: int = 1,
    bits: int = 8,
    palette: bytes = b"",
    resources: dict[int, bytes] | None = None,
    layers: bytes = b"",
) -> bytes:
    """A Photoshop file whose flattened picture has `channels` [H, W, N]."""
    planes = np.moveaxis(channels, 2, 0)
    count, height, width = planes.shape
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, count, height, width, bits, mode)
    named = b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)
        for number, content in (resources or {}).items()
    )
    head += b"".join(struct.pack(">I", len(part)) + part for part in (palette, named, layers))
    if compression != 1:
        return head + struct.pack(">H", compression) + planes.tobytes()
    rows = [_packed(row.tobytes()) for plane in planes for row in plane]
    return head + struct.pack(">H", 1) + struct.pack(f">{len(rows)}H", *map(len, rows)) + b"".join(rows)


@pytest.mark.parametrize("compression", [0, 1], ids=["raw", "packed"])
def test_the_flattened_picture_of_photoshop_keeps_every_value(compression: int) -> None:
    _close(_psd(PICTURE, compression=compression, layers=b"layers" * 7), PICTURE, 0)


@pytest.mark.parametrize("compression", [0, 1], ids=["raw", "packed"])
@pytest.mark.parametrize("more", [1, 2, 5])
def test_further_channels_of_photoshop_change_no_colour(more: int, compression: int) -> None:
    """A saved selection, or a transparency that Photoshop has laid over white already."""
    channels = np.dstack([PICTURE, np.repeat(ALPHA[..., None], more, axis=2)])
    _close(_psd(channels, compression=compression), PICTURE, 0)


LAYERS = struct.pack(">Ih", 20, -1) + bytes(18)  # a negative number of layers says that there is transparency


def test_transparency_of_other_programs_than_photoshop_lies_over_white() -> None:
    _close(_psd(RGBA, layers=LAYERS), OVER_WHITE, 1)


def test_transparency_of_photoshop_is_in_the_colours_already() -> None:
    _close(_psd(RGBA, layers=LAYERS, resources={1057: struct.pack(">IB", 1, 1)}), PICTURE, 0)


@pytest.mark.parametrize("more", [0, 1])
def test_grey_of_photoshop_has_three_equal_channels(more: int) -> None:
    _close(_psd(PICTURE[..., : 1 + more], 1), np.repeat(PICTURE[..., :1], 3, axis=2), 0)


def test_a_palette_of_photoshop_is_shown_in_its_colours() -> None:
    colours = noise(256, 1)[:, 0]
    _close(_psd(PICTURE[..., :1], 2, palette=colours.T.tobytes()), colours[PICTURE[..., 0]], 0)


def test_inks_of_photoshop_are_shown_in_their_colours() -> None:
    light = np.dstack([PICTURE, np.full((24, 40), 255, np.uint8)])  # the file stores light in place of ink
    _close(_psd(light, 4), PICTURE, 1)


def test_a_profile_of_photoshop_is_obeyed() -> None:
    data = _psd(PICTURE, resources={1005: b"odd", 1039: rgb_profile(ADOBE_RGB, gamma(2.19921875))})
    _close(data, shown(PICTURE, ADOBE_RGB, gamma(2.19921875)), 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_psd(PICTURE, resources={1057: struct.pack(">IB", 1, 0)}), "no flattened picture.*Maximize"),
        (_psd(PICTURE.repeat(2, axis=2), bits=16, compression=0), "16 bits in RGB; accepted: 8 bits"),
        (_psd(PICTURE, 7), "8 bits in colour mode 7; accepted"),
        (_psd(PICTURE, compression=2), "ZIP"),
    ],
    ids=["no picture", "16 bits", "many inks", "zip"],
)
def test_what_is_not_served_of_photoshop_is_refused_with_415(data: bytes, message: str) -> None:
    with pytest.raises(UnsupportedImageError, match=message):
        decode_image(data, LIMIT)


# Icons


@pytest.mark.parametrize("bitmap_format", ["png", "bmp"])
def test_of_an_icon_the_largest_picture_is_taken(bitmap_format: str) -> None:
    data = encoded(RGBA, "ICO", sizes=[(8, 8), (40, 24), (16, 16)], bitmap_format=bitmap_format)
    _close(data, OVER_WHITE, 1)


@pytest.mark.parametrize("mode", ["1", "P", "RGB"])
def test_an_icon_of_few_bits_is_shown(mode: str) -> None:
    image = Image.fromarray(PICTURE[:, :32]).convert(mode)  # Pillow pads no row of the mask that it writes
    _close(encoded(image, "ICO", sizes=[(32, 24)], bitmap_format="bmp"), np.asarray(image.convert("RGB")), 0)


def test_a_cursor_is_an_icon() -> None:
    data = bytearray(encoded(RGBA, "ICO", sizes=[(40, 24)]))
    data[2] = 2
    _close(bytes(data), OVER_WHITE, 1)


def test_a_bomb_in_an_icon_is_refused_before_it_is_decoded() -> None:
    inner = png(50_000, 50_000, 8, 2, bytes(1000))
    data = b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22) + inner
    with pytest.raises(ImageTooLargeError, match=r"2500000000 pixels|50000x50000"):
        decode_image(data, LIMIT)
    bitmap = struct.pack("<IiiHHIIiiII", 40, 50_000, 100_000, 1, 32, 0, 0, 0, 0, 0, 0)
    data = b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(bitmap), 22) + bitmap
    with pytest.raises(ImageTooLargeError, match=r"2500000000 pixels|50000x50000"):
        decode_image(data, LIMIT)


# Targa


@pytest.mark.parametrize("compression", [None, "tga_rle"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_targa_keeps_every_value(mode: str, compression: str | None) -> None:
    image = Image.fromarray(RGBA if mode == "RGBA" else PICTURE).convert(mode)
    expected = OVER_WHITE if mode == "RGBA" else np.asarray(image.convert("RGB"))
    _close(encoded(image, "TGA", compression=compression), expected, 1)


def test_a_fourth_byte_of_a_targa_that_is_always_0_is_no_transparency() -> None:
    _close(encoded(np.dstack([PICTURE, np.zeros_like(ALPHA)]), "TGA"), PICTURE, 0)


@pytest.mark.parametrize("orientation", [-1, 1])
def test_a_targa_may_begin_at_the_top_or_at_the_bottom(orientation: int) -> None:
    _close(encoded(PICTURE, "TGA", orientation=orientation), PICTURE, 0)


def test_a_targa_whose_runs_go_beyond_its_rows_is_called_what_it_is() -> None:
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, 4, 4, 24, 0x20)
    data = header + b"\x8f" + bytes((10, 20, 30))  # one run of 16 pixels for 4 rows of 4
    with pytest.raises(UnsupportedImageError, match="run lengths go beyond the ends of its rows"):
        decode_image(data, LIMIT)


def test_a_bmp_of_another_system_whose_compression_pillow_does_not_know_is_not_called_damaged() -> None:
    header = struct.pack("<IiiHHIIiiII", 64, 4, 4, 1, 24, 4, 48, 0, 0, 0, 0) + bytes(
        24
    )  # OS/2's run lengths of 24 bits
    data = b"BM" + struct.pack("<IHHI", 14 + 64 + 48, 0, 0, 14 + 64) + header + bytes(48)
    with pytest.raises(UnsupportedImageError, match=r"Unsupported BMP compression|is not served"):
        decode_image(data, LIMIT)


# JPEG 2000


@pytest.mark.parametrize("options", [{}, {"no_jp2": True}, {"tile_size": (16, 16)}], ids=["box", "bare", "tiles"])
def test_a_jpeg_2000_keeps_every_value(options: dict[str, object]) -> None:
    _close(encoded(PICTURE, "JPEG2000", **options), PICTURE, 0)


def test_a_jpeg_2000_of_16_bits_keeps_the_upper_8() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (24, 40)).astype(np.uint16)
    _close(encoded(Image.fromarray(values), "JPEG2000"), np.repeat((values >> 8)[..., None], 3, axis=2), 0)


def test_a_transparent_jpeg_2000_lies_over_white() -> None:
    _close(encoded(RGBA, "JPEG2000"), OVER_WHITE, 1)


TILE = b"\xff\x90\0\x0a" + bytes(8)


def _coding(layers: int = 1, block: int = 4, precincts: bytes = b"") -> bytes:
    content = struct.pack(">BBHB", bool(precincts), 0, layers, 1) + bytes([0, block, block, 0, 1]) + precincts
    return b"\xff\x52" + struct.pack(">H", len(content) + 2) + content


def _sizes(width: int, tile: int, components: int) -> bytes:
    content = struct.pack(">HIIIIIIIIH", 0, width, width, 0, 0, tile, tile, 0, 0, components) + b"\7\1\1" * components
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(content) + 2) + content


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (_sizes(50_000, 50_000, 3) + TILE, ImageTooLargeError, "50000x50000"),
        (_sizes(255, 1, 3) + TILE, InvalidImageError, "tiles are 1x1"),
        (_sizes(16, 16, 16_000) + TILE, UnsupportedImageError, "16000 components; accepted: up to 4"),
        (_sizes(16, 16, 3) + b"\xff\x64\0\2" * 60_000, InvalidImageError, "more than 50000 segments"),
        (_sizes(16, 16, 3) + _coding(layers=65_535) + TILE, InvalidImageError, "more than 100 quality layers"),
        (_sizes(16, 16, 3) + TILE + _coding(layers=101), InvalidImageError, "more than 100 quality layers"),
        (_sizes(16, 16, 3) + _coding(block=0) + TILE, UnsupportedImageError, "blocks of 16 pixels; accepted: from 256"),
        (_sizes(16, 16, 3) + _coding(precincts=b"\x11") + TILE, UnsupportedImageError, "blocks of 4 pixels"),
        (
            struct.pack(">I4sI", 12, b"jP  ", 0x0D0A870A) + struct.pack(">I4s", 8, b"free") * 10_000,
            InvalidImageError,
            "no c",
        ),
    ],
    ids=["pixels", "tiles", "components", "segments", "layers", "layers of a tile", "blocks", "precincts", "boxes"],
)
def test_a_jpeg_2000_that_costs_too_much_is_refused(data: bytes, error: type[SegmenterError], message: str) -> None:
    with pytest.raises(error, match=message):
        decode_image(data, LIMIT)


# JPEG XL


@pytest.mark.parametrize("use_container", [False, True])
@pytest.mark.parametrize("side", [(24, 40), (48, 64), (8, 16), (30, 45), (300, 9)])
def test_a_jpeg_xl_keeps_every_value(side: tuple[int, int], use_container: bool) -> None:
    picture = noise(*side)
    _close(encoded(picture, "JXL", lossless=True, use_container=use_container), picture, 0)


def test_a_transparent_jpeg_xl_lies_over_white() -> None:
    _close(encoded(RGBA, "JXL", lossless=True), OVER_WHITE, 1)


def test_grey_in_jpeg_xl_has_three_equal_channels() -> None:
    _close(encoded(np.ascontiguousarray(ALPHA), "JXL", lossless=True), np.repeat(ALPHA[..., None], 3, axis=2), 0)


def test_sixteen_bits_in_jpeg_xl_keep_the_upper_8() -> None:
    """libjxl takes such grey for linear light, and says so in the profile."""
    values = np.random.default_rng(0).integers(4096, 65536, (24, 40)).astype(np.uint16)
    expected = light_to_srgb((values >> 8)[..., None] / 255)
    _close(encoded(Image.fromarray(values), "JXL", lossless=True), np.repeat(expected, 3, axis=2), 1)


def test_a_lossy_jpeg_xl_keeps_values_nearly() -> None:
    found = decode_image(encoded(PICTURE, "JXL", quality=95), LIMIT)
    assert np.abs(found.astype(int) - PICTURE).mean() < 3


def test_a_jpeg_inside_jpeg_xl_is_the_jpeg(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("jpeg") / "photo.jpg"
    path.write_bytes(encoded(stored(PICTURE, 6), "JPEG", quality=95, exif=exif_orientation(6)))
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.save(buffer, "JXL", lossless_jpeg=True)
    np.testing.assert_array_equal(decode_image(buffer.getvalue(), LIMIT), decode_image(path.read_bytes(), LIMIT))


@pytest.mark.parametrize("use_container", [False, True])
def test_a_jpeg_xl_with_too_many_pixels_is_refused_before_it_is_decoded(use_container: bool) -> None:
    data = encoded(Image.new("RGB", (1200, 1000)), "JXL", use_container=use_container, effort=1)
    with pytest.raises(ImageTooLargeError, match="1200x1000"):
        decode_image(data, LIMIT)


def test_a_jpeg_xl_of_floats_is_refused_with_415() -> None:
    with pytest.raises(UnsupportedImageError, match="pixels of F"):
        decode_image(encoded(Image.new("F", (40, 24)), "JXL"), LIMIT)


# All of them

SEEDS = {
    "Photoshop, packed": _psd(noise(20, 30)),
    "Photoshop, raw": _psd(noise(20, 30), compression=0),
    "Photoshop, palette": _psd(noise(20, 30)[..., :1], 2, palette=bytes(768)),
    "icon with PNG": encoded(noise(20, 30), "ICO", sizes=[(30, 20)]),
    "icon with BMP": encoded(noise(20, 30), "ICO", sizes=[(30, 20)], bitmap_format="bmp"),
    "Targa": encoded(noise(20, 30), "TGA"),
    "Targa, packed": encoded(RGBA, "TGA", compression="tga_rle"),
    "JPEG 2000": encoded(noise(20, 30), "JPEG2000"),
    "JPEG 2000, tiles": encoded(noise(20, 30), "JPEG2000", no_jp2=True, tile_size=(16, 16)),
    "JPEG XL": encoded(noise(20, 30), "JXL"),
    "JPEG XL, lossless": encoded(noise(20, 30), "JXL", lossless=True, use_container=True),
}


@pytest.mark.parametrize("kind", SEEDS)
def test_flipped_bytes_give_pixels_or_an_error_with_an_answer(kind: str) -> None:
    data = SEEDS[kind]
    for seed in range(150):
        random = np.random.default_rng(seed)
        damaged = bytearray(data)
        for place in random.integers(0, min(len(data), 100 if seed % 2 else len(data)), random.integers(1, 5)):
            damaged[place] = random.integers(0, 256)
        assert_pixels_or_answer(bytes(damaged))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("kind", [kind for kind in SEEDS if "2000" not in kind])
def test_a_truncated_file_is_refused_with_400(kind: str, share: float) -> None:
    data = SEEDS[kind]
    with pytest.raises(InvalidImageError) as caught:
        decode_image(data[: int(len(data) * share)], LIMIT)
    assert caught.value.status == 400


@pytest.mark.parametrize("length", [2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize(
    "signature",
    [b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n"],
    ids=["JPEG 2000", "JPEG XL"],
)
def test_a_box_longer_than_any_file_is_damage(signature: bytes, length: int) -> None:
    boxes = signature + struct.pack(">I4sQ", 1, b"free", length) + bytes(64)
    with pytest.raises(InvalidImageError, match="damaged"):
        decode_image(boxes, LIMIT)
