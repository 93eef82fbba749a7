"""TIFFs of every layout come out as the picture that is in them, or are refused by what they are.

The files are written by tifffile, which shares no code with what reads them here.
"""

from __future__ import annotations

import io
import re
import resource
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pytest
import tifffile
from PIL import Image, ImageCms

from lseg_serve.segmenter.errors import (
    ImageTooLargeError,
    InvalidImageError,
    InvalidOptionError,
    SegmenterError,
    UnsupportedImageError,
)
from lseg_serve.segmenter.preprocessing.decoding import Reading, decode_image
from tests.support.damage import assert_pixels_or_answer
from tests.support.pictures import Pixels, encoded, gradient, noise, stored
from tests.support.profiles import ADOBE_RGB, gamma, rgb_profile, shown

LIMIT = 1_000_000
HEIGHT, WIDTH = 50, 70
PICTURE = noise(HEIGHT, WIDTH)
GREY = np.ascontiguousarray(PICTURE[..., 0])
GREY_RGB = np.repeat(GREY[..., None], 3, axis=2)
PICTURE16 = PICTURE.astype(np.uint16) << 8 | 0x5A


def _tiff(array: npt.NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def _rgb(array: npt.NDArray[Any], **options: Any) -> bytes:
    return _tiff(array, photometric="rgb", **options)


def _bands(array: npt.NDArray[Any], **options: Any) -> bytes:
    """Bands without a meaning, as satellites have them: [H, W, bands]."""
    extra = ["unspecified"] * (array.shape[2] - 1)
    return _tiff(array, photometric="minisblack", planarconfig="contig", extrasamples=extra, **options)


def _separate(array: npt.NDArray[Any], **options: Any) -> bytes:
    """Each band by itself."""
    return _rgb(np.moveaxis(array, 2, 0).copy(), planarconfig="separate", **options)


def _decode(data: bytes, **reading: Any) -> Pixels:
    return decode_image(data, LIMIT, Reading(**reading))


def _shows(data: bytes, expected: npt.ArrayLike, **reading: Any) -> None:
    np.testing.assert_array_equal(_decode(data, **reading), expected)


LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "LZW": {"compression": "lzw"},
    "deflate": {"compression": "zlib", "rowsperstrip": 9},
    "PackBits": {"compression": "packbits", "rowsperstrip": 9},
    "LZMA": {"compression": "lzma"},
    "Zstandard": {"compression": "zstd"},
    "LZW differences": {"compression": "lzw", "predictor": True, "rowsperstrip": 9},
    "tiles of deflated differences": {"compression": "zlib", "predictor": True, "tile": (32, 16)},
    "big-endian": {"byteorder": ">"},
    "big-endian differences": {"byteorder": ">", "compression": "lzw", "predictor": True},
    "BigTIFF": {"bigtiff": True},
    "big-endian BigTIFF": {"bigtiff": True, "byteorder": ">"},
    "tiles in BigTIFF": {"bigtiff": True, "tile": (16, 16), "compression": "zlib"},
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


@every_layout
def test_eight_bits_keep_every_value(layout: dict[str, Any]) -> None:
    _shows(_rgb(PICTURE, **layout), PICTURE)


@every_layout
def test_sixteen_bits_keep_their_upper_eight(layout: dict[str, Any]) -> None:
    _shows(_rgb(PICTURE16, **layout), PICTURE)


@every_layout
def test_floats_from_zero_to_one_are_scaled(layout: dict[str, Any]) -> None:
    _shows(_rgb((PICTURE / 255).astype(np.float32), **layout), PICTURE)


@every_layout
def test_bands_that_lie_apart_are_put_together(layout: dict[str, Any]) -> None:
    _shows(_separate(PICTURE16, **layout), PICTURE)


@every_layout
def test_of_seven_bands_the_first_three_are_red_green_and_blue(layout: dict[str, Any]) -> None:
    others = np.full((HEIGHT, WIDTH, 4), 65535, np.uint16)
    _shows(_bands(np.dstack([PICTURE16, others]), **layout), PICTURE)


@pytest.mark.parametrize(
    ("kind", "scale"),
    [
        ("uint8", 1),
        ("uint16", 256),
        ("uint32", 2**24),
        ("uint64", 2**56),
        ("int16", 128),
        ("int32", 2**23),
        ("int64", 2**55),
        ("float16", 1 / 255),
        ("float32", 1 / 255),
        ("float64", 1 / 255),
        ("float32", 1),
        ("float64", 1),
    ],
)
def test_grey_of_every_type_is_scaled_to_eight_bits(kind: str, scale: float) -> None:
    values = (GREY.astype(np.float64) * scale).astype(kind)
    _shows(_tiff(values, photometric="minisblack"), GREY_RGB)


DEPTHS = [(kind, bits) for kind in ("uint16", "int16", "uint32", "int32") for bits in (8, 10, 12, 14, 16)]


@pytest.mark.parametrize(("kind", "bits"), [each for each in DEPTHS if each != ("int16", 16)])
def test_the_depth_is_the_smallest_that_holds_the_largest_value(kind: str, bits: int) -> None:
    """A sensor's 12 bits, stored in 16 as they are, would be nearly black if they were read as 16."""
    values = np.arange(2**bits).astype(kind).reshape(2, -1)
    shown = (values >> (bits - 8)).astype(np.uint8)
    _shows(_tiff(values, photometric="minisblack"), np.repeat(shown[..., None], 3, axis=2))


def test_a_depth_that_the_file_names_is_kept() -> None:
    """The darkest part of a 14-bit picture is dark, whatever its own largest value."""
    values = GREY.astype(np.uint16)
    data = _tiff(values, photometric="minisblack", extratags=[(281, "H", 1, 2**14 - 1, True)])
    _shows(data, np.repeat((values >> 6).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 7, 9, 10, 12, 14, 15])
@pytest.mark.parametrize("bands", [1, 3])
def test_samples_that_are_packed_without_gaps_are_read(bits: int, bands: int) -> None:
    values = PICTURE[..., :bands].astype(np.uint16) << bits >> 8
    packed = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(HEIGHT, -1, 2), axis=-1)[..., 16 - bits :]
    rows = np.packbits(packed.reshape(HEIGHT, -1), axis=1)
    data = _with_tags(_tiff(rows, photometric="minisblack"), {256: WIDTH, 258: bits, 262: 1 + (bands == 3), 277: bands})
    shown = values >> (bits - 8) if bits > 8 else np.rint(values * 255.0 / (2**bits - 1))
    _shows(data, np.broadcast_to(shown, PICTURE.shape))


def _with_tags(data: bytes, changes: dict[int, int]) -> bytes:
    """A little-endian TIFF of one page with other numbers in its tags, whose type and place stay."""
    changed = bytearray(data)
    start = struct.unpack_from("<I", data, 4)[0]
    for index in range(struct.unpack_from("<H", data, start)[0]):
        place = start + 2 + 12 * index
        tag, kind = struct.unpack_from("<HH", data, place)
        if tag in changes:
            struct.pack_into({3: "<H", 4: "<I"}[kind], changed, place + 8, changes[tag])
    return bytes(changed)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_where_white_is_zero_grey_is_turned_round(kind: str) -> None:
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[kind]
    values = ((255 - GREY) * np.float64(scale)).astype(kind)
    _shows(_tiff(values, photometric="miniswhite"), GREY_RGB)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "float32"])
@pytest.mark.parametrize("premultiplied", [False, True])
@pytest.mark.parametrize("bands", [1, 3])
def test_alpha_lies_over_white(kind: str, premultiplied: bool, bands: int) -> None:
    alpha = np.ascontiguousarray(PICTURE[..., 1])
    alpha[:3], alpha[-3:] = 0, 255
    share = alpha[..., None] / 255
    colors = PICTURE[..., :bands] * share if premultiplied else PICTURE[..., :bands].astype(float)
    scale = {"uint8": 1, "uint16": 257, "uint32": 16_843_009, "float32": 1 / 255}[kind]
    values = (np.rint(np.dstack([colors, alpha])) * scale).astype(kind)
    meaning = "assocalpha" if premultiplied else "unassalpha"
    photometric = "rgb" if bands == 3 else "minisblack"
    data = _tiff(values, photometric=photometric, planarconfig="contig", extrasamples=[meaning])
    expected = np.broadcast_to(PICTURE[..., :bands] * share + 255 * (1 - share), PICTURE.shape)
    assert np.abs(_decode(data) - expected).max() <= 1 + 255 * premultiplied / 100
    assert (_decode(data)[:3] == 255).all()


def test_twelve_bits_with_an_alpha_of_sixteen_are_as_bright_as_without() -> None:
    values = np.dstack([GREY.astype(np.uint16) << 4 | 15, np.full_like(GREY, 65535, np.uint16)])
    _shows(_tiff(values, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]), GREY_RGB)


def test_of_two_bands_the_first_is_grey() -> None:
    _shows(_bands(np.dstack([GREY, 255 - GREY]).astype(np.uint16) << 8), GREY_RGB)


@every_layout
def test_bands_are_chosen_by_number(layout: dict[str, Any]) -> None:
    others = np.zeros((HEIGHT, WIDTH, 2), np.uint16)
    data = _bands(np.dstack([others, PICTURE16[..., ::-1]]), **layout)
    _shows(data, PICTURE, bands=(5, 4, 3))
    _shows(data, GREY_RGB, bands=(5,))


def test_bands_that_lie_apart_are_chosen_too() -> None:
    _shows(
        _separate(np.dstack([PICTURE16, PICTURE16 // 2]), extrasamples=["unspecified"] * 3),
        PICTURE[..., ::-1],
        bands=(3, 2, 1),
    )


def test_with_bands_named_alpha_is_a_band_like_others() -> None:
    data = _rgb(np.dstack([PICTURE, GREY // 2]), extrasamples=["unassalpha"])
    _shows(data, PICTURE, bands=(1, 2, 3))
    _shows(data, GREY_RGB // 2, bands=(4,))


def test_a_band_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="bands is 6,1,2; accepted: 1 to 5, the bands of this image") as caught:
        _decode(_bands(np.zeros((4, 4, 5), np.uint16)), bands=(6, 1, 2))
    assert (caught.value.status, caught.value.field) == (400, "bands")


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_a_range_says_what_is_black_and_white(kind: str) -> None:
    values = np.linspace(0, 100, HEIGHT * WIDTH).astype(kind).reshape(HEIGHT, WIDTH)
    expected = np.rint((values.astype(float) - 20).clip(0, 60) / 60 * 255)
    _shows(_tiff(values, photometric="minisblack"), np.repeat(expected[..., None], 3, axis=2), range=(20, 80))


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("int16", -1024, 3071), ("int32", -5, 5), ("float32", -0.5, 0.5), ("float32", 0, 3.5), ("float64", 0, 4095)],
)
def test_numbers_without_a_usual_range_are_refused_with_how_to_give_one(kind: str, low: float, high: float) -> None:
    values = np.linspace(low, high, 12).astype(kind).reshape(3, 4)
    data = _tiff(values, photometric="minisblack")
    words = f"{kind} values lie between {low:g} and {high:g}, .*instance range={low:g},{high:g}"
    with pytest.raises(UnsupportedImageError, match=words) as caught:
        _decode(data)
    assert (caught.value.status, caught.value.field) == (415, "image")
    shown = _decode(data, range=(low, high))
    assert (shown[0, 0].tolist(), shown[-1, -1].tolist()) == ([0] * 3, [255] * 3)


def test_the_range_that_the_file_names_serves_where_there_is_no_usual_one() -> None:
    values = np.array([[-1024, 0, 1024]], np.int16)
    tags = [(340, "h", 1, -1024, True), (341, "h", 1, 1024, True)]
    _shows(_tiff(values, photometric="minisblack", extratags=tags), [[[0] * 3, [128] * 3, [255] * 3]])


def test_pixels_without_data_are_black_and_do_not_count() -> None:
    values = np.array([[-9999, 0, 4095]], np.int16)
    data = _tiff(values, photometric="minisblack", extratags=[(42113, "s", 0, "-9999", True)])
    _shows(data, [[[0] * 3, [0] * 3, [255] * 3]])
    floats = np.array([[np.nan, 0.2, 1, np.inf, -np.inf]], np.float32)
    _shows(_tiff(floats, photometric="minisblack"), [[[0] * 3, [51] * 3, [255] * 3, [0] * 3, [0] * 3]])


def test_an_image_all_without_data_is_black() -> None:
    _shows(_tiff(np.full((2, 3), np.nan, np.float32), photometric="minisblack"), np.zeros((2, 3, 3)))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_a_colour_profile_counts_for_every_type(kind: str) -> None:
    """Photographers keep their pictures as 16-bit TIFFs in Adobe RGB."""
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[kind]
    smooth = gradient(HEIGHT, WIDTH)
    data = _rgb((smooth * np.float64(scale)).astype(kind), iccprofile=rgb_profile(ADOBE_RGB, gamma(2.2)))
    assert np.abs(_decode(data) - shown(smooth, ADOBE_RGB, gamma(2.2))).max() <= 2
    assert np.abs(_decode(data).astype(int) - smooth).max() > 10


def _pages(*pages: tuple[npt.NDArray[Any], dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for array, options in pages:
            writer.write(array, **{"photometric": "rgb", **options})
    return buffer.getvalue()


SMALL = np.zeros((5, 7, 3), np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        _pages((SMALL, {"subfiletype": 1, "subifds": 1}), (PICTURE, {"subfiletype": 0})),
        _pages((SMALL, {"subfiletype": 1}), (PICTURE, {"subfiletype": 0})),
        _pages((SMALL, {"subifds": 1}), (PICTURE, {"subfiletype": 0})),
        _pages((PICTURE, {"subifds": 2}), (SMALL, {"subfiletype": 1}), (SMALL, {"subfiletype": 1})),
        _pages((PICTURE, {}), (SMALL, {"subfiletype": 1})),
        _pages((PICTURE, {}), (noise(90, 90), {})),
        _pages((SMALL, {"subfiletype": 1}), (PICTURE, {"subfiletype": 1})),
    ],
    ids=[
        "a thumbnail with the picture inside it",
        "a thumbnail in front",
        "a thumbnail that is not called one",
        "a pyramid",
        "a thumbnail behind",
        "pages",
        "all called thumbnails",
    ],
)
def test_the_picture_is_found_among_several(data: bytes) -> None:
    _shows(data, PICTURE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["uint8", "uint16", "JPEG"])
def test_every_orientation_gives_the_upright_picture(orientation: int, kind: str) -> None:
    smooth = gradient(32, 48)
    turned = stored(smooth, orientation)
    tags = [(274, "H", 1, orientation, True)]
    if kind == "JPEG":
        data = encoded(turned, "TIFF", compression="jpeg", quality=95, tiffinfo={274: orientation})
    else:
        data = _rgb(turned if kind == "uint8" else turned.astype(np.uint16) << 8, extratags=tags)
    found = _decode(data)
    assert found.shape == smooth.shape
    assert np.abs(found.astype(int) - smooth).max() <= (8 if kind == "JPEG" else 0)


def test_the_orientation_of_a_thumbnail_is_that_of_the_picture_inside_it() -> None:
    data = _pages(
        (SMALL, {"subfiletype": 1, "subifds": 1, "extratags": [(274, "H", 1, 3, True)]}), (PICTURE, {"subfiletype": 0})
    )
    _shows(data, PICTURE[::-1, ::-1])


@pytest.mark.parametrize(
    ("maker", "kind", "tags"),
    [
        ("NIKON CORPORATION", "NEF", []),
        ("SONY", "ARW", []),
        ("Some camera", "DNG", [(50706, "B", 4, b"\1\4\0\0", True)]),
        ("Some camera", "", []),
    ],
)
@pytest.mark.parametrize("photometric", [32803, 34892])
def test_a_camera_raw_file_is_refused_by_name(maker: str, kind: str, tags: list[Any], photometric: int) -> None:
    make = (271, "s", 0, maker, True)
    data = _pages(
        (SMALL, {"subfiletype": 1, "subifds": 1, "extratags": [make, *tags]}),
        (
            PICTURE16 if photometric == 34892 else PICTURE16[..., 0].copy(),
            {"subfiletype": 0, "photometric": photometric},
        ),
    )
    named = f"this is a camera raw file {kind and f'({kind})'}".strip() + ", which is not served; export it as JPEG"
    with pytest.raises(UnsupportedImageError, match=re.escape(named)) as caught:
        _decode(data)
    assert caught.value.status == 415


def test_a_raw_file_of_canon_is_known_by_its_mark() -> None:
    data = bytearray(_rgb(PICTURE))
    place = struct.unpack_from("<I", data, 4)[0]
    moved = data[:4] + struct.pack("<I", len(data)) + b"CR\2\0" + data[12:] + data[place:]
    with pytest.raises(UnsupportedImageError, match="a camera raw file"):
        _decode(bytes(moved))


def _pillows(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


MODES = [*((mode, "raw") for mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr")), ("P", "tiff_lzw"), ("CMYK", "tiff_lzw")]


@pytest.mark.parametrize(
    ("mode", "compression"), [*MODES, ("L", "jpeg"), ("RGB", "jpeg"), ("YCbCr", "jpeg"), ("CMYK", "jpeg")]
)
def test_what_pillow_knows_stays_as_pillow_shows_it(mode: str, compression: str) -> None:
    if (mode, compression) == ("YCbCr", "raw") and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow 12, the last one for Python 3.10, cannot read the YCbCr that it writes")
    data = encoded(Image.fromarray(PICTURE).convert(mode), "TIFF", compression=compression)
    _shows(data, _pillows(data))


def test_cielab_is_shown_in_its_colours() -> None:
    smooth = gradient(HEIGHT, WIDTH)
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    picture = ImageCms.applyTransform(Image.fromarray(smooth), to_lab)
    assert picture is not None
    data = encoded(picture, "TIFF")
    assert Image.open(io.BytesIO(data)).mode == "LAB"
    difference = np.abs(_decode(data).astype(int) - smooth)
    assert (difference.mean() < 2, difference.max() < 20) == (True, True)  # 8 bits of Lab are coarser than those of RGB


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_faxes_are_decoded(compression: str) -> None:
    black = GREY > 100
    _shows(
        encoded(Image.fromarray(black), "TIFF", compression=compression),
        np.repeat(black[..., None] * np.uint8(255), 3, axis=2),
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_rgb(PICTURE, compression="jpeg2000"), "3 bands of 8-bit uint, RGB, JPEG 2000"),
        (
            _tiff(GREY.astype(np.float32), photometric="minisblack", compression="lerc"),
            "1 band of 32-bit float, .*LERC",
        ),
        (
            _tiff(GREY.astype(np.complex64), photometric="minisblack"),
            "1 band of 64-bit unknown type, BlackIsZero, none",
        ),
        (_with_tags(_tiff(GREY, photometric="minisblack"), {259: 4711}), "1 band of 8-bit uint.*compression 4711"),
        (
            _tiff(noise(32, 32), photometric="ycbcr", subsampling=(2, 2), compression="jpeg2000"),
            "3 bands of 8-bit uint, YCbCr",
        ),
        (_with_tags(_tiff(GREY, photometric="minisblack"), {262: 32845}), "1 band of 8-bit uint, LogLuv, none"),
    ],
    ids=["JPEG 2000", "LERC", "complex", "unknown compression", "YCbCr", "LogLuv"],
)
def test_what_has_no_reading_is_refused_by_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedImageError, match=f"a TIFF with {words}.* is not served") as caught:
        _decode(data)
    assert caught.value.status == 415


def test_bits_that_are_named_for_bands_that_are_not_there_do_not_count() -> None:
    data = bytearray(_rgb(PICTURE, extratags=[(65_000, "H", 5, [8, 8, 8, 1, 1], True)]))
    start = struct.unpack_from("<I", data, 4)[0]
    entries = {
        struct.unpack_from("<H", data, place)[0]: place
        for place in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12)
    }
    data[entries[258] + 2 : entries[258] + 12] = data[entries[65_000] + 2 : entries[65_000] + 12]
    _shows(bytes(data), PICTURE)


def test_a_sparse_file_is_refused_by_name() -> None:
    data = _rgb(PICTURE, tile=(16, 16))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages.first.tags[325].valueoffset
    sparse = data[:place] + bytes(4) + data[place + 4 :]
    with pytest.raises(UnsupportedImageError, match="sparse"):
        _decode(sparse)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@every_layout
def test_a_cut_file_is_refused_as_damaged(layout: dict[str, Any], share: float) -> None:
    data = _rgb(noise(60, 80).astype(np.uint16) * 257, **layout)
    with pytest.raises(InvalidImageError, match="truncated or damaged") as caught:
        _decode(data[: int(len(data) * share)])
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "data", [b"II*\0", b"MM\0*\0\0", b"II+\0\x08\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\0\0"]
)
def test_a_header_alone_is_no_picture(data: bytes) -> None:
    with pytest.raises(InvalidImageError, match="truncated or damaged"):
        _decode(data)


def test_directories_in_a_circle_have_an_end() -> None:
    data = bytearray(_pages((PICTURE, {}), (PICTURE, {})))
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    _shows(bytes(data), PICTURE)


def test_a_tag_that_names_the_whole_file_costs_no_memory() -> None:
    """Pillow before 13 keeps a copy of the file for each: 900 of them in a file of 3 MB are 2.7 GB."""
    tags = [(60_000 + number, "B", 4, bytes(4), True) for number in range(900)]
    data = bytearray(_rgb(noise(1000, 1000), extratags=tags))
    start = struct.unpack_from("<I", data, 4)[0]
    for index in range(struct.unpack_from("<H", data, start)[0]):
        place = start + 2 + 12 * index
        if struct.unpack_from("<H", data, place)[0] >= 60_000:
            struct.pack_into("<II", data, place + 4, len(data) - 8, 8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert _decode(bytes(data)).shape == (1000, 1000, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_parts_that_all_name_the_whole_file_are_refused() -> None:
    """Each could hold codes without a pixel for as long as the file is: rows times its length to decode."""
    data = bytearray(
        _tiff(np.zeros((20_000, 8), np.uint16), rowsperstrip=1, compression="lzw", photometric="minisblack")
    )
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tag = file.pages.first.tags[279]
        place, kind = tag.valueoffset, {3: "<u2", 4: "<u4"}[int(tag.dtype)]
    lengths = np.full(20_000, min(len(data), np.iinfo(kind).max) - 16, kind).tobytes()
    data[place : place + len(lengths)] = lengths
    with pytest.raises(InvalidImageError, match="its parts take"):
        _decode(bytes(data))


def test_many_bands_are_refused_before_they_take_memory() -> None:
    data = _with_tags(_bands(np.zeros((8, 8, 3), np.float64)), {256: 900, 257: 900, 277: 200})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        ImageTooLargeError, match=r"200 bands of 64-bit float, 1296 MB decoded; accepted: up to 8 MB"
    ) as caught:
        _decode(data)
    assert caught.value.status == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_tile_larger_than_the_picture_by_far_is_refused_before_it_takes_memory() -> None:
    data = _with_tags(_rgb(PICTURE, tile=(64, 80)), {322: 1 << 20, 323: 1 << 20})
    with pytest.raises(SegmenterError) as caught:
        _decode(data)
    assert caught.value.status == 413


def test_too_many_pixels_are_refused_with_413() -> None:
    data = _with_tags(_tiff(np.zeros((8, 8), np.uint16), photometric="minisblack"), {256: 60_000, 257: 60_000})
    with pytest.raises(ImageTooLargeError, match="60000x60000"):
        _decode(data)


SEEDS = {
    "LZW": _tiff(PICTURE16, photometric="rgb", compression="lzw", predictor=True),
    "tiles of floats": _rgb((PICTURE / 255).astype(np.float32), tile=(16, 16), compression="zlib", predictor=True),
    "big-endian BigTIFF": _tiff(GREY.astype(np.int16), bigtiff=True, byteorder=">"),
    "apart": _separate(PICTURE16, compression="packbits"),
    "JPEG": encoded(PICTURE, "TIFF", compression="jpeg"),
}


@pytest.mark.parametrize("data", SEEDS.values(), ids=SEEDS.keys())
def test_flipped_bytes_give_pixels_or_an_error_with_an_answer(data: bytes) -> None:
    for seed in range(200):
        random = np.random.default_rng(seed)
        damaged = bytearray(data)
        first, last = [(0, len(data)), (0, 250), (max(0, len(data) - 400), len(data))][seed % 3]
        for place in random.integers(first, last, random.integers(1, 5)):
            damaged[place] = random.choice([0, 1, 2, 127, 255, int(random.integers(0, 256))])
        assert_pixels_or_answer(bytes(damaged))
