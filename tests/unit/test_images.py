"""Every kind of image file comes out as the picture a person sees, or as an error that says what is wrong."""

from __future__ import annotations

import io
import resource
import struct

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, features

from lseg_serve.segmenter.errors import ImageTooLargeError, InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding import decode_image
from tests.support.damage import assert_pixels_or_answer
from tests.support.pictures import (
    ORIENTATION,
    PNG_SIGNATURE,
    Pixels,
    encoded,
    exif_orientation,
    gradient,
    noise,
    png,
    png16,
    png_chunk,
    stored,
)

LIMIT = 1_000_000
HEIGHT, WIDTH = 24, 40
PICTURE = gradient(HEIGHT, WIDTH)
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
LOSSY = ["JPEG", "WEBP", pytest.param("AVIF", marks=needs_avif)]


def _decode(data: bytes) -> Pixels:
    pixels = decode_image(data, LIMIT)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)
    return pixels


def _grey() -> Pixels:
    return np.ascontiguousarray(PICTURE[..., 0])


def _as_grey_rgb(grey: npt.NDArray[np.integer]) -> Pixels:
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def _over_white(rgb: npt.NDArray[np.integer], alpha: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    share = alpha[..., None] / 255
    return np.asarray(rgb * share + 255 * (1 - share), dtype=np.float64)


def _close(found: Pixels, expected: npt.NDArray[np.generic], tolerance: int) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.astype(float) - expected.astype(float)).max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_every_orientation_gives_the_upright_picture(orientation: int, file_format: str) -> None:
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(stored(PICTURE, orientation), file_format, exif=exif_orientation(orientation), **options)
    np.testing.assert_array_equal(_decode(data), PICTURE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", pytest.param("AVIF", marks=needs_avif)])
def test_every_orientation_of_a_lossy_file_gives_the_upright_picture(orientation: int, file_format: str) -> None:
    data = encoded(stored(PICTURE, orientation), file_format, quality=95, exif=exif_orientation(orientation))
    _close(_decode(data), PICTURE, 12)


def test_a_camera_photo_is_decoded(photo: bytes) -> None:
    expected = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
    assert expected.shape == (300, 451, 3)
    np.testing.assert_array_equal(decode_image(photo, LIMIT), expected)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_lossless_rgb_keeps_every_value(file_format: str) -> None:
    picture = PICTURE // 64 * 64 if file_format == "GIF" else PICTURE  # a GIF has 256 colours
    np.testing.assert_array_equal(_decode(encoded(picture, file_format)), picture)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff_keeps_every_value(compression: str) -> None:
    np.testing.assert_array_equal(_decode(encoded(PICTURE, "TIFF", compression=compression)), PICTURE)


@pytest.mark.parametrize("file_format", LOSSY)
def test_lossy_rgb_keeps_values_nearly(file_format: str) -> None:
    _close(_decode(encoded(PICTURE, file_format, quality=95)), PICTURE, 12)


def test_a_progressive_jpeg_equals_the_baseline_one() -> None:
    progressive = encoded(PICTURE, "JPEG", quality=95, progressive=True)
    assert b"\xff\xc2" in progressive  # the marker of a progressive frame
    np.testing.assert_array_equal(_decode(progressive), _decode(encoded(PICTURE, "JPEG", quality=95)))


@pytest.mark.parametrize(
    "options",
    [{"subsampling": 2}, {"subsampling": 1}, {"subsampling": 0}, {"progressive": True}, {"keep_rgb": True}],
    ids=["4:2:0", "4:2:2", "4:4:4", "progressive", "rgb"],
)
@pytest.mark.parametrize("ending", [b"", b"behind the end"], ids=["whole", "longer"])
def test_a_jpeg_has_the_values_that_pillow_finds(options: dict[str, object], ending: bytes) -> None:
    data = encoded(noise(61, 83), "JPEG", quality=80, **options) + ending
    np.testing.assert_array_equal(_decode(data), np.asarray(Image.open(io.BytesIO(data))))


def test_a_grey_jpeg_has_the_values_that_pillow_finds() -> None:
    data = encoded(np.ascontiguousarray(noise(61, 83)[..., 0]), "JPEG", quality=80)
    np.testing.assert_array_equal(_decode(data), _as_grey_rgb(np.asarray(Image.open(io.BytesIO(data)))))


def test_a_cmyk_jpeg_is_shown_in_its_colours() -> None:
    inks = np.dstack([255 - PICTURE, np.zeros((HEIGHT, WIDTH), np.uint8)])
    data = encoded(Image.frombytes("CMYK", (WIDTH, HEIGHT), inks.tobytes()), "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    _close(_decode(data), PICTURE, 12)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "PPM", "GIF"])
def test_grey_has_three_equal_channels(file_format: str) -> None:
    np.testing.assert_array_equal(_decode(encoded(_grey(), file_format)), _as_grey_rgb(_grey()))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "PPM"])
def test_one_bit_is_black_and_white(file_format: str) -> None:
    bits = _grey() > 120
    data = encoded(Image.fromarray(bits), file_format)
    np.testing.assert_array_equal(_decode(data), _as_grey_rgb(bits * np.uint8(255)))


def test_grey_with_alpha_lies_over_white() -> None:
    alpha = np.ascontiguousarray(PICTURE[..., 1])
    data = encoded(Image.merge("LA", [Image.fromarray(_grey()), Image.fromarray(alpha)]))
    _close(_decode(data), _over_white(_as_grey_rgb(_grey()), alpha), 1)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_rgba_lies_over_white(file_format: str) -> None:
    alpha = np.ascontiguousarray(PICTURE[..., 1])
    alpha[:3], alpha[-3:] = 0, 255
    options = {"lossless": True} if file_format == "WEBP" else {}
    found = _decode(encoded(np.dstack([PICTURE, alpha]), file_format, **options))
    _close(found, _over_white(PICTURE, alpha), 1)
    assert (found[:3] == 255).all()
    np.testing.assert_array_equal(found[-3:], PICTURE[-3:])


def _palette_image() -> tuple[Image.Image, Pixels]:
    indices = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8) % 7
    colours = noise(1, 7)[0]
    image = Image.fromarray(indices).convert("L")
    image.putpalette(colours.tobytes())
    return image, colours[indices]


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_image_is_shown_in_its_colours(file_format: str) -> None:
    image, shown = _palette_image()
    np.testing.assert_array_equal(_decode(encoded(image, file_format)), shown)


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(file_format: str) -> None:
    image, shown = _palette_image()
    expected = np.where(np.asarray(image)[..., None] == 3, 255, shown)
    np.testing.assert_array_equal(_decode(encoded(image, file_format, transparency=3)), expected)


def test_palette_entries_that_are_half_transparent_are_mixed_with_white() -> None:
    image, shown = _palette_image()
    data = encoded(image, transparency=bytes([0, 128, 255, 64, 255, 200, 30]))
    alpha = np.array([0, 128, 255, 64, 255, 200, 30])[np.asarray(image)]
    _close(_decode(data), _over_white(shown, alpha), 1)


def test_a_transparent_colour_of_an_rgb_png_is_white() -> None:
    picture = PICTURE.copy()
    picture[5:9, 6:20] = (10, 20, 30)
    expected = picture.copy()
    expected[5:9, 6:20] = 255
    np.testing.assert_array_equal(_decode(encoded(picture, transparency=(10, 20, 30))), expected)


def _sixteen_bits(*shape: int) -> npt.NDArray[np.uint16]:
    return np.random.default_rng(1).integers(0, 65536, shape, dtype=np.uint16)


def test_sixteen_bit_grey_png_keeps_its_upper_eight_bits() -> None:
    values = _sixteen_bits(HEIGHT, WIDTH)
    np.testing.assert_array_equal(_decode(png16(values)), _as_grey_rgb(values >> 8))


def test_sixteen_bit_rgb_png_keeps_its_upper_eight_bits() -> None:
    values = _sixteen_bits(HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(_decode(png16(values)), (values >> 8).astype(np.uint8))


@pytest.mark.parametrize("channels", [2, 4])
def test_sixteen_bit_png_with_alpha_lies_over_white(channels: int) -> None:
    values = _sixteen_bits(HEIGHT, WIDTH, channels)
    upper = values >> 8
    colours = _as_grey_rgb(upper[..., 0]) if channels == 2 else upper[..., :3]
    _close(_decode(png16(values)), _over_white(colours, upper[..., -1]), 1)


@pytest.mark.parametrize("order", ["<u2", ">u2"], ids=["little-endian", "big-endian"])
def test_sixteen_bit_grey_tiff_keeps_its_upper_eight_bits(order: str) -> None:
    values = _sixteen_bits(HEIGHT, WIDTH)
    image = Image.frombytes("I;16" if order == "<u2" else "I;16B", (WIDTH, HEIGHT), values.astype(order).tobytes())
    np.testing.assert_array_equal(_decode(encoded(image, "TIFF")), _as_grey_rgb(values >> 8))


def test_sixteen_bit_grey_pgm_keeps_its_upper_eight_bits() -> None:
    values = _sixteen_bits(HEIGHT, WIDTH)
    data = f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(_decode(data), _as_grey_rgb(values >> 8))


def test_a_sixteen_bit_image_is_turned_upright_too() -> None:
    values = _sixteen_bits(HEIGHT, WIDTH)
    header, rest = (data := png16(values))[:33], data[33:]
    turned = header + png_chunk(b"eXIf", exif_orientation(3).removeprefix(b"Exif\x00\x00")) + rest
    np.testing.assert_array_equal(_decode(turned), _as_grey_rgb(values[::-1, ::-1] >> 8))


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken(file_format: str) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    np.testing.assert_array_equal(_decode(data), np.full((HEIGHT, WIDTH, 3), (255, 0, 0)))


def test_of_a_stereo_photo_the_first_view_is_taken() -> None:
    data = encoded(PICTURE, "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    _close(_decode(data), PICTURE, 12)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\x00\x00",
        b"Exif\x00\x00MM\x00*garbage",
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x05" + b"\xff" * 30,
        exif_orientation(6)[:-6],
        exif_orientation(0),
        exif_orientation(9),
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + struct.pack(">HHI4sI", ORIENTATION, 2, 2, b"6", 0),
        b"\x00" * 100,
    ],
    ids=["empty", "garbage", "far offset", "bad entries", "cut off", "number 0", "number 9", "text", "zeros"],
)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_broken_exif_does_not_spoil_the_picture(exif: bytes, file_format: str) -> None:
    _close(_decode(encoded(PICTURE, file_format, exif=exif)), PICTURE, 12)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (16, 6000), (6000, 16)])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_any_shape_is_decoded(height: int, width: int, file_format: str) -> None:
    picture = gradient(height, width)
    options = {"quality": 95, "subsampling": 0} if file_format == "JPEG" else {}
    _close(_decode(encoded(picture, file_format, **options)), picture, 12)


def test_an_empty_body_is_named_as_such() -> None:
    with pytest.raises(InvalidImageError, match="empty") as caught:
        decode_image(b"", LIMIT)
    assert (caught.value.status, caught.value.type, caught.value.field) == (400, "invalid_image", "image")


@pytest.mark.parametrize(
    "data",
    [
        b"hello, world",
        b"\n",
        np.random.default_rng(3).bytes(5000),
        bytes(5000),
    ],
    ids=["text", "newline", "random", "zeros"],
)
def test_what_is_no_image_is_refused_with_415(data: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match=r"not an image; accepted: .*JPEG.*PNG") as caught:
        decode_image(data, LIMIT)
    assert (caught.value.status, caught.value.type, caught.value.field) == (415, "unsupported_image", "image")


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "TIFF", "PPM", *LOSSY])
def test_a_truncated_file_is_refused_with_400(file_format: str, share: float) -> None:
    picture = noise(60, 80)
    options = {"quality": 95} if file_format in ("JPEG", "WEBP", "AVIF") else {}
    data = encoded(picture, file_format, **options)
    _refused_as_damaged(data[: int(len(data) * share)])


@pytest.mark.parametrize("length", [16, 20, 30, 33, 40, 50])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", pytest.param("AVIF", marks=needs_avif)])
def test_a_file_cut_within_its_header_is_refused_with_400(file_format: str, length: int) -> None:
    """Its first bytes say what it is: 'not an image' would send its owner looking in the wrong place."""
    _refused_as_damaged(encoded(noise(60, 80), file_format)[:length])


def _refused_as_damaged(data: bytes) -> None:
    with pytest.raises(InvalidImageError, match="truncated or damaged") as caught:
        decode_image(data, LIMIT)
    assert (caught.value.status, caught.value.type, caught.value.field) == (400, "invalid_image", "image")


def test_a_png_with_a_bad_checksum_in_its_header_is_refused_with_400() -> None:
    data = bytearray(encoded(PICTURE))
    data[29] ^= 0xFF  # IHDR's checksum: signature 8, length 4, name 4, content 13
    _refused_as_damaged(bytes(data))


def test_a_png_with_damaged_pixels_is_refused_with_400() -> None:
    data = bytearray(encoded(noise(40, 40)))
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    _refused_as_damaged(bytes(data))


def test_a_png_without_pixels_is_refused_with_400() -> None:
    whole = png(8, 8, 8, 2, b"")
    _refused_as_damaged(whole)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    data = png(50_000, 50_000, 8, 2, bytes(1_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageTooLargeError, match="2500000000 pixels; accepted: up to 100000000") as caught:
        decode_image(data, 100_000_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes; decoded: 7.5 GB
    assert (caught.value.status, caught.value.type, caught.value.field) == (413, "image_too_large", "image")


def test_the_limit_itself_is_still_served() -> None:
    data = encoded(PICTURE)
    assert decode_image(data, HEIGHT * WIDTH).shape == PICTURE.shape
    with pytest.raises(ImageTooLargeError, match=f"{WIDTH}x{HEIGHT} = {HEIGHT * WIDTH} pixels"):
        decode_image(data, HEIGHT * WIDTH - 1)


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "TIFF", "PPM", *LOSSY])
def test_flipped_bytes_give_pixels_or_an_error_with_an_answer(file_format: str) -> None:
    data = encoded(noise(20, 30), file_format)
    for seed in range(150):
        random = np.random.default_rng(seed)
        damaged = bytearray(data)
        for place in random.integers(0, min(len(data), 200 if seed % 2 else len(data)), random.integers(1, 5)):
            damaged[place] = random.integers(0, 256)
        assert_pixels_or_answer(bytes(damaged))


def test_the_signature_alone_is_no_picture() -> None:
    with pytest.raises(InvalidImageError):
        decode_image(PNG_SIGNATURE, LIMIT)


def _with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan stands there `count` times more."""
    data = encoded(PICTURE, "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * count + data[end:]


def test_a_progressive_jpeg_with_a_few_more_scans_is_decoded() -> None:
    assert _decode(_with_scans(20)).shape == PICTURE.shape


def test_a_jpeg_of_very_many_scans_is_refused_with_400() -> None:
    """Each is a few bytes of file and a pass over the whole image: a small file could hold a worker for hours."""
    with pytest.raises(InvalidImageError, match="more than 100 scans") as caught:
        decode_image(_with_scans(5_000), LIMIT)
    assert caught.value.status == 400


def test_a_scan_of_an_embedded_thumbnail_is_not_counted() -> None:
    thumbnail = _with_scans(5_000)[:60_000]
    exif = b"Exif\x00\x00" + thumbnail
    data = encoded(PICTURE, "JPEG")
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    assert _decode(data[:2] + segment + data[2:]).shape == PICTURE.shape


def test_a_side_that_is_too_long_is_refused_with_413() -> None:
    with pytest.raises(ImageTooLargeError, match=r"70000x1; accepted: sides of up to 65535"):
        decode_image(encoded(np.zeros((1, 70_000, 3), dtype=np.uint8), "PNG"), LIMIT)
