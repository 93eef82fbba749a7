"""A JPEG whose picture is whole is shown, whatever its end looks like; one that was cut is refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from lseg_serve.segmenter.errors import InvalidImageError
from lseg_serve.segmenter.preprocessing.decoding import decode_image
from tests.support.pictures import encoded, exif_orientation, gradient, noise, png_chunk

LIMIT = 1_000_000
END = b"\xff\xd9"
PICTURE = noise(61, 83)
WAYS: dict[str, dict[str, object]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "4:4:4": {"subsampling": 0},
    "restarts": {"restart_marker_blocks": 3},
    "progressive with restarts": {"progressive": True, "restart_marker_blocks": 3},
}


def _jpeg(way: str = "baseline", mode: str = "RGB") -> bytes:
    return encoded(Image.fromarray(PICTURE).convert(mode), "JPEG", quality=90, **WAYS[way])


def _expected(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
def test_an_end_that_is_missing_matters_not(way: str, mode: str) -> None:
    data = _jpeg(way, mode)
    assert data.endswith(END)
    np.testing.assert_array_equal(decode_image(data[:-2], LIMIT), _expected(data))
    np.testing.assert_array_equal(decode_image(data[:-1], LIMIT), _expected(data))


@pytest.mark.parametrize("ending", [END, b""], ids=["with an end behind the cut", "as it is"])
@pytest.mark.parametrize("share", [0.35, 0.5, 0.75, 0.9, 0.97, 0.99, 0.999])
@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_was_cut_is_refused_with_400(way: str, share: float, ending: bytes) -> None:
    data = _jpeg(way)
    cut = data[: int((len(data) - 2) * share)]
    with pytest.raises(InvalidImageError, match="truncated or damaged") as caught:
        decode_image(cut + ending, LIMIT)
    assert caught.value.status == 400


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_or_inks_that_were_cut_are_refused_with_400(mode: str) -> None:
    data = _jpeg(mode=mode)
    with pytest.raises(InvalidImageError, match="truncated or damaged"):
        decode_image(data[: len(data) // 2] + END, LIMIT)


def test_a_progressive_file_that_was_cut_between_two_passes_is_refused_with_400() -> None:
    """Each pass is whole, but the first promise finer values than any gives."""
    data = _jpeg("progressive")
    starts = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    assert len(starts) > 5
    for start in starts[1:]:
        tables = data.rfind(b"\xff\xc4", 0, start)
        cut = data[: tables if tables > starts[starts.index(start) - 1] else start]
        with pytest.raises(InvalidImageError, match="truncated or damaged"):
            decode_image(cut + END, LIMIT)


@pytest.mark.parametrize(
    ("before", "behind"),
    [(b"", b"a trailer"), (b"", bytes(1000)), (b"abc" * 30, b""), (b"", _jpeg("progressive"))],
    ids=["text behind", "zeros behind", "bytes in front of the end", "a second JPEG behind"],
)
def test_bytes_too_many_at_the_end_matter_not(before: bytes, behind: bytes) -> None:
    data = _jpeg()
    np.testing.assert_array_equal(decode_image(data[:-2] + before + END + behind, LIMIT), _expected(data))


def test_a_thumbnail_that_was_cut_matters_not() -> None:
    thumbnail = _jpeg()[:500]
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = _jpeg()
    np.testing.assert_array_equal(decode_image(data[:2] + segment + data[2:], LIMIT), _expected(data))


def test_of_two_views_the_second_may_be_cut() -> None:
    data = encoded(PICTURE, "MPO", quality=90, save_all=True, append_images=[Image.fromarray(PICTURE[::-1])])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    np.testing.assert_array_equal(decode_image(data[:-200], LIMIT), _expected(data))


def test_a_fault_within_is_shown_as_viewers_show_it() -> None:
    data = bytearray(_jpeg("restarts"))
    middle = len(data) // 2
    data[middle : middle + 20] = bytes(20)
    np.testing.assert_array_equal(decode_image(bytes(data), LIMIT), _expected(bytes(data)))


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_that_stands_in_xmp_alone_turns_nothing(file_format: str) -> None:
    """As in browsers. Stated in docs/requests.md."""
    picture = gradient(24, 40)
    if file_format == "PNG":
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
        whole = encoded(picture)
        data = whole[:33] + png_chunk(b"iTXt", text) + whole[33:]
    else:
        data = encoded(picture, file_format, xmp=XMP)
    assert b"tiff:Orientation" in data
    assert decode_image(data, LIMIT).shape == picture.shape


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_exif_turns_and_xmp_does_not_turn_back(file_format: str) -> None:
    data = encoded(gradient(24, 40), file_format, exif=exif_orientation(6), xmp=XMP.replace(b"6", b"1"))
    assert decode_image(data, LIMIT).shape == (40, 24, 3)
