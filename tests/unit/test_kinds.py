"""A file of a kind that is not served is called what it is, with what to do."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import pickle
import re
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from lseg_serve.segmenter.errors import UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding import IMAGE_FORMATS, decode_image
from tests.support.pictures import encoded, gradient

PICTURE = gradient(24, 40)


def _refused(data: bytes) -> str:
    with pytest.raises(UnsupportedImageError) as caught:
        decode_image(data, 1_000_000)
    assert (caught.value.status, caught.value.type, caught.value.field) == (415, "unsupported_image", "image")
    return caught.value.message


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("photo.jpg", encoded(PICTURE, "JPEG"))
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("photo.jpg"))
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, PICTURE)
    return buffer.getvalue()


def _box(brand: bytes, *compatible: bytes) -> bytes:
    content = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", len(content) + 4) + content + bytes(100)


FILES = {
    "a PDF": [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", encoded(PICTURE, "PDF")],
    "a PostScript file": [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", encoded(PICTURE, "EPS")],
    "a DjVu document": [b"AT&TFORM\0\0\1\0DJVU"],
    r"metafile \(WMF\)": [b"\xd7\xcd\xc6\x9a" + bytes(40)],
    r"metafile \(EMF\)": [b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(60)],
    r"camera raw file \(RAF\)": [b"FUJIFILMCCD-RAW 0201FF383501"],
    r"camera raw file \(ORF\)": [b"IIRO\x08\0\0\0" + bytes(60), b"IIRS\x08\0\0\0" + bytes(60)],
    r"camera raw file \(RW2\)": [b"IIU\0\x08\0\0\0" + bytes(60)],
    r"camera raw file \(CR3\)": [_box(b"crx ", b"crx ", b"isom")],
    r"a video \(MP4 or MOV\)": [_box(b"isom", b"iso2", b"avc1", b"mp41"), _box(b"qt  "), _box(b"M4V ")],
    r"a video \(WebM": [b"\x1a\x45\xdf\xa3" + bytes(60)],
    r"a video \(AVI": [b"RIFF\0\0\1\0AVI LIST" + bytes(60)],
    "a DICOM file": [bytes(128) + b"DICM" + bytes(60)],
    "a FITS file": [b"SIMPLE  =                    T" + b" " * 50],
    "an HDF5 or NetCDF file": [b"\x89HDF\r\n\x1a\n" + bytes(60), b"CDF\1" + bytes(60)],
    r"a NumPy array \(.npy\)": [_npy()],
    "an OpenEXR image": [b"v/1\1\2\0\0\0channels\0"],
    "a Radiance HDR image": [b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n"],
    "a thumbnail of XV": [b"P7 332\n#END_OF_COMMENTS\n8 8 255\n" + bytes(64)],
    "a QOI image": [encoded(PICTURE, "QOI")],
    "a texture": [encoded(PICTURE, "DDS")],
    "a Macintosh icon": [encoded(Image.new("RGBA", (64, 64)), "ICNS")],
    "a PCX image": [encoded(PICTURE, "PCX")],
    "an SGI image": [encoded(PICTURE, "SGI")],
    r"a large Photoshop file \(PSB\)": [b"8BPS\0\2" + bytes(60)],
    "a ZIP archive or an Office document": [_zip()],
    "an image that was read as text": [
        encoded(PICTURE).decode("utf-8", "replace").encode(),
        encoded(PICTURE, "JPEG").decode("utf-8", "replace").encode(),
        encoded(PICTURE, "JPEG").decode("latin-1").encode(),
    ],
    "a PNG whose line ends were changed": [
        encoded(PICTURE).replace(b"\r\n", b"\n"),
        encoded(PICTURE).replace(b"\n", b"\r\n"),
    ],
    "a FLIC animation": [struct.pack("<IHHHHHH", 128, 0xAF12, 1, 8, 8, 8, 0) + bytes(120)],
    "a gzip file": [gzip.compress(encoded(PICTURE, "JPEG"))],
    r"a compressed file \(bzip2": [bz2.compress(encoded(PICTURE, "JPEG"))],
    "a tar archive": [_tar()],
    "a pickle": [pickle.dumps({"image": PICTURE})],
    "a web page": [
        b"<!doctype html><html><body>404</body></html>",
        b"\r\n  <!DOCTYPE html>\r\n<html lang=en>",
        b"\xef\xbb\xbf<html><head>",
        "<html><body>Größe</body></html>".encode("utf-16"),
        b"<!-- page --><html>",
        b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">',
    ],
    "an SVG drawing": [
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
        b"<svg><metadata/><title>a</title><script/></svg>",
        b"<!-- drawn by hand -->\n<svg:svg/>",
    ],
    "an XML or HTML text": [b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', b"<p>Not found</p>"],
    "JSON": [json.dumps({"image": "x"}).encode(), b"[1, 2]", b"{}", b'\xef\xbb\xbf {"error": 404}'],
    "base64": [base64.b64encode(encoded(PICTURE, "JPEG")), base64.encodebytes(encoded(PICTURE))],
    "a data URI": [b"data:image/png;base64," + base64.b64encode(encoded(PICTURE))],
    "an address": [b"https://example.org/photo.jpg\n"],
    "a Git LFS pointer": [b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"],
    r"resource file \(its name begins with ._\)": [b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(60)],
}


@pytest.mark.parametrize("name", FILES)
def test_the_kind_is_named_with_what_to_do(name: str) -> None:
    for data in FILES[name]:
        what, advice = _refused(data).split(", which is not served; ")
        assert re.fullmatch(f"this is .*{name}.*", what)
        assert advice


@pytest.mark.parametrize(
    "data",
    [
        b"hello, world",
        b"a photo of a cat in the sun, which lies on a chair in the garden",
        b"0123456789",
        b"\n",
        bytes(5000),
        np.random.default_rng(3).bytes(5000),
        "Größe".encode("latin-1"),
        b"\xff\xfe",
    ],
    ids=["text", "sentence", "digits", "newline", "zeros", "random", "latin-1", "mark alone"],
)
def test_what_is_none_of_all_is_no_image(data: bytes) -> None:
    message = _refused(data)
    assert message == f"the {len(data)} bytes sent are not an image; accepted: {', '.join(IMAGE_FORMATS)}"


def test_the_kinds_that_are_served_are_named() -> None:
    assert set(IMAGE_FORMATS) >= {"JPEG", "PNG", "WEBP", "TIFF", "HEIC", "JPEG 2000", "JPEG XL", "ICO", "TGA", "PSD"}


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "TGA", "JPEG2000"])
def test_none_of_these_names_is_given_to_an_image_that_is_served(file_format: str) -> None:
    for side in (1, 2, 10, 31, 32, 200):
        options = {"sizes": [(side, side)]} if file_format == "ICO" else {}
        data = encoded(Image.new("RGB", (side, side)), file_format, **options)
        assert decode_image(data, 1_000_000).shape == (side, side, 3)
