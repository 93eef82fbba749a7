"""What a client can get wrong, the answer each mistake gets, and the worker that outlives them all."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from lseg_serve.server import LocalServer
from tests.serving.conftest import error_of

Send = dict[str, Any]  # arguments of requests.post


def _picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (40, 30), 100).save(buffer, kind, **options)
    return buffer.getvalue()


def _float_picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("F", (40, 30), 5000).save(buffer, "TIFF")
    return buffer.getvalue()


def _png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes do not hold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _noise(side: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=50)
    return buffer.getvalue()


PNG = _picture("PNG")
JPEG = _picture("JPEG")
BASE64 = base64.b64encode(PNG).decode()


def _form(**fields: Any) -> Send:
    return {"files": {"image": PNG}, "data": fields}


def _image(content: bytes) -> Send:
    return {"files": {"image": content}, "data": {"labels": "a,b"}}


def _json(**fields: Any) -> Send:
    return {"json": {"image": BASE64, **fields}}


def _raw(content: bytes, content_type: str, **headers: str) -> Send:
    return {"data": content, "headers": {"Content-Type": content_type, **headers}}


# What is sent; status, type, and a part of the message of its answer.
CASES: dict[str, tuple[Send, int, str, str]] = {
    "nothing at all": ({}, 400, "invalid_image", "0 bytes"),
    "labels without image": ({"files": {"labels": (None, "a,b")}}, 400, "invalid_image", "there is no image"),
    "empty image": (_image(b""), 400, "invalid_image", "the image is empty"),
    "text for an image": (_image(b"hello"), 415, "unsupported_image", "5 bytes sent are not an image"),
    "html for an image": (_image(b"<html><body>404</body></html>"), 415, "unsupported_image", "a web page"),
    "pdf for an image": (_image(b"%PDF-1.7 ..."), 415, "unsupported_image", "a PDF"),
    "svg for an image": (
        _image(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        415,
        "unsupported_image",
        "an SVG drawing",
    ),
    "a script in PostScript": (_image(b"%!PS-Adobe-3.0 EPSF-3.0\n"), 415, "unsupported_image", "PostScript"),
    "zeros for an image": (_image(bytes(1000)), 415, "unsupported_image", "not an image"),
    "only a PNG's signature": (_image(PNG[:8]), 400, "invalid_image", "hold no header"),
    "truncated PNG": (_image(PNG[:-30]), 400, "invalid_image", "truncated or damaged"),
    "truncated JPEG": (_image(JPEG[:-100]), 400, "invalid_image", "truncated or damaged"),
    "PNG with a wrong checksum": (_image(PNG[:50] + b"x" + PNG[51:]), 400, "invalid_image", "truncated or damaged"),
    "decompression bomb": (_image(_png_claiming(50_000, 50_000)), 413, "image_too_large", "2500000000 pixels"),
    "a bomb one pixel high": (_image(_png_claiming(2_000_000_000, 1)), 413, "image_too_large", "2000000000 pixels"),
    "pixels that are not there": (_image(_png_claiming(500, 500)), 400, "invalid_image", "truncated or damaged"),
    "float pixels of any scale": (_image(_float_picture()), 415, "unsupported_image", "range=5000,5001"),
    "a band that is not there": (_form(bands="4"), 400, "invalid_option", "bands is 4; accepted: 1 to 3"),
    "a range without an end": (
        _form(range="5"),
        400,
        "invalid_option",
        "accepted: the values that are black and white",
    ),
    "image as a text part": (
        {"files": {"image": ("x.txt", b"hello", "text/plain")}},
        400,
        "invalid_image",
        "'hello'",
    ),
    "no labels": (_form(labels=""), 400, "invalid_labels", "labels is empty"),
    "blank labels": (_form(labels="  "), 400, "invalid_labels", "labels is empty"),
    "an empty label": (_form(labels="a,,b"), 400, "invalid_labels", "label 2 is empty"),
    "a blank label": (_form(labels='["a", "  "]'), 400, "invalid_labels", "label 2 is empty"),
    "a label twice": (_form(labels="a, b ,b"), 400, "invalid_labels", "'b' is given twice"),
    "a label twice but for its case": (_form(labels="Cat,cat"), 400, "invalid_labels", "'cat' is given twice"),
    "an empty list": (_form(labels="[]"), 400, "invalid_labels", "labels is empty"),
    "256 labels": (_form(labels=",".join(map(str, range(256)))), 400, "invalid_labels", "256 labels"),
    "a label of 201 characters": (_form(labels="a," + "b" * 201), 400, "invalid_labels", "201 characters"),
    "a label of too many tokens": (_form(labels="a," + "日" * 80), 400, "invalid_labels", "75 CLIP tokens"),
    "a line break in a label": (_form(labels='["a\\nb"]'), 400, "invalid_labels", r"'\n'"),
    "a zero byte in a label": (_form(labels='["a\\u0000"]'), 400, "invalid_labels", r"'\x00'"),
    "half a surrogate in a label": (_json(labels=["\ud800"]), 400, "invalid_labels", r"'\ud800'"),
    "a number for a label": (_json(labels=["a", 5]), 400, "invalid_labels", "label 2 is a number (5)"),
    "null for a label": (_json(labels=["a", None]), 400, "invalid_labels", "label 2 is null"),
    "a list within a group": (_json(labels=[["a", ["b"]]]), 400, "invalid_labels", "a group that holds a list"),
    "a group without words": (_json(labels=["a", []]), 400, "invalid_labels", "a group without words"),
    "labels as an object": (_json(labels={"a": 1}), 400, "invalid_labels", "labels is an object"),
    "labels as a number": (_json(labels=7), 400, "invalid_labels", "labels is a number (7)"),
    "a broken list of labels": (_form(labels='["a", '), 400, "invalid_labels", "not a JSON list"),
    "labels in latin-1": (_form(labels="\xe9t\xe9".encode("latin-1")), 400, "invalid_labels", "not UTF-8"),
    "an unknown format": (_form(labels="a", format="gif"), 400, "invalid_option", "'gif'; accepted: png, color"),
    "a format of another type": (_json(format=["png"]), 400, "invalid_option", "a list"),
    "an unknown mode": (_form(mode="best"), 400, "invalid_option", "mode is 'best'"),
    "an unknown geometry": (_form(geometry="svg"), 400, "invalid_option", "accepted: rle, polygons, label_studio"),
    "a threshold above 1": (_form(threshold="1.5"), 400, "invalid_option", "'1.5'; accepted: a number from 0 to 1"),
    "a negative threshold": (_form(threshold="-0.1"), 400, "invalid_option", "'-0.1'"),
    "a threshold that is no number": (_form(threshold="high"), 400, "invalid_option", "'high'"),
    "not a number": (_form(threshold="nan"), 400, "invalid_option", "'nan'"),
    "true for a threshold": (_json(threshold=True), 400, "invalid_option", "threshold is true"),
    "an infinite alpha": (_form(alpha="inf"), 400, "invalid_option", "'inf'"),
    "an empty alpha": (_form(alpha=""), 400, "invalid_option", "alpha is ''"),
    "an unknown field": (_form(colour="red"), 400, "invalid_option", "unknown field 'colour'"),
    "an unknown header": (
        _raw(PNG, "image/png", **{"X-LSeg-Lables": "a"}),
        400,
        "invalid_option",
        "unknown field 'lables'",
    ),
    "broken JSON": (_raw(b'{"image": ', "application/json"), 400, "invalid_request", "not valid JSON"),
    "a JSON list": (_raw(b"[1, 2]", "application/json"), 400, "invalid_request", "JSON, but a list"),
    "a JSON string": (_raw(b'"image"', "application/json"), 400, "invalid_request", "JSON, but a string"),
    "JSON without an image": ({"json": {"labels": ["a"]}}, 400, "invalid_image", "there is no image"),
    "an image that is no base64": ({"json": {"image": "!!!"}}, 400, "invalid_image", "no base64"),
    "an image as a number": ({"json": {"image": 5}}, 400, "invalid_image", "image is a number (5)"),
    "an image as a URL": ({"json": {"image": "http://127.0.0.1/x.png"}}, 400, "invalid_image", "no base64"),
    "two images": (
        {"files": {"image": PNG, "data": JPEG}},
        400,
        "invalid_image",
        "there are two images",
    ),
    "two files in the field image": (
        {"files": [("image", PNG), ("image", JPEG)]},
        400,
        "invalid_image",
        "there are 2 images in the field image",
    ),
    "an option twice": (_form(format=["png", "json"]), 400, "invalid_option", "format is given 2 times"),
    "a label twice, in two fields": (_form(labels=["cat", "Cat"]), 400, "invalid_labels", "given twice"),
    "semicolons for commas": (_form(labels="sky;grass"), 400, "invalid_labels", "that holds ';'; accepted: labels"),
    "commas in lines": (_form(labels="sky, blue\ngrass"), 400, "invalid_labels", "several lines"),
    "a label of nothing visible": (_form(labels="sky,\u3164"), 400, "invalid_labels", "shows nothing"),
    "a label of zero width": (_form(labels="sky,\u200b"), 400, "invalid_labels", "label 2 is empty"),
    "two spellings of a word": (_form(labels="caf\u00e9,cafe\u0301"), 400, "invalid_labels", "given twice"),
    "true for labels": (_json(labels=True), 400, "invalid_labels", "labels is true"),
    "broken JSON as text": (_raw(b'{"image": ', "text/plain"), 400, "invalid_request", "not valid JSON"),
    "a gzip bomb": (
        _raw(gzip.compress(bytes(50_000_000)), "image/png", **{"Content-Encoding": "gzip"}),
        413,
        "request_too_large",
        "accepted: up to 8000000",
    ),
    "no gzip": (_raw(PNG, "image/png", **{"Content-Encoding": "gzip"}), 400, "invalid_request", "no whole gzip"),
    "another compression": (_raw(PNG, "image/png", **{"Content-Encoding": "br"}), 400, "invalid_request", "'br'"),
    "a compressed form": (
        _raw(gzip.compress(b"--x--"), "multipart/form-data; boundary=x", **{"Content-Encoding": "gzip"}),
        400,
        "invalid_request",
        "the form is compressed",
    ),
    "a form without a boundary": (_raw(b"--x--", "multipart/form-data"), 400, "invalid_request", "names no boundary"),
    "an image as a link in a form": (
        {"files": {"image": (None, "https://example.org/x.png")}},
        400,
        "invalid_image",
        "links are not fetched",
    ),
    "JSON that curl called a form": (
        _raw(b'{"image": "aGVsbG8="}', "application/x-www-form-urlencoded"),
        415,
        "unsupported_image",
        "-H 'Content-Type: application/json'",
    ),
    "a strip beyond all sides": (_image(_png_claiming(70_000, 10)), 413, "image_too_large", "sides of up to 65535"),
    "a PPM in plain text that was cut": (_image(b"P3\n1 1\n255\n1 2\n"), 400, "invalid_image", "2 of 3 numbers"),
    "base64 of no image": ({"json": {"image": "aGVsbG8="}}, 415, "unsupported_image", "not an image"),
    "a text body": (_raw(b"hello", "text/plain"), 400, "invalid_image", "'hello'"),
    "a form for an image": (
        _raw(b"labels=a", "application/x-www-form-urlencoded"),
        415,
        "unsupported_image",
        "curl's default for --data-binary",
    ),
    "an answer too large": (
        {"files": {"image": _noise(1400)}, "data": {"labels": "a,b", "format": "overlay"}},
        413,
        "response_too_large",
        "accepted: up to 2936000",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _the_worker_outlives_them_all(server: LocalServer, url: str) -> Any:
    before = server.workers("lseg")
    yield
    assert requests.post(url, files={"image": PNG}, timeout=60).status_code == 200
    assert [worker["pid"] for worker in server.workers("lseg")] == [worker["pid"] for worker in before]


def test_there_are_at_least_40() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_gets_its_answer(name: str, url: str) -> None:
    send, status, kind, part = CASES[name]
    answer = requests.post(url, timeout=60, **send)
    error = error_of(answer)
    assert answer.status_code == status
    assert error["type"] == kind
    assert part in str(error["message"])


def test_an_upload_beyond_the_servers_limit_gets_its_413(url: str) -> None:
    """By TorchServe itself, before the handler sees anything; it may close the connection while the rest arrives."""
    try:
        assert requests.post(url, data=bytes(9_000_000), timeout=60).status_code == 413
    except requests.ConnectionError as error:
        assert "reset" in str(error) or "Broken pipe" in str(error) or "aborted" in str(error)


def _headers(**headers: str) -> Callable[[str], requests.Response]:
    def send(url: str) -> requests.Response:
        return requests.post(url, data=PNG, headers={"Content-Type": "image/png", **headers}, timeout=60)

    return send


@pytest.mark.parametrize(
    "send",
    [
        _headers(describe="True"),
        _headers(explain="True"),
        _headers(**{"x-request-id": "1\t2"}),
        _headers(labels="a", image="b", body="c"),
        _headers(**{"X-LSeg-Labels": "a, [METRICS]x.Milliseconds:1|#Level:Model|#hostname:h,1"}),
        _headers(ts_stream_next="true"),
        _headers(Accept="application/json;q=x, */*;q=0.1"),
    ],
)
def test_headers_that_mean_something_to_torchserve_do_no_harm(
    send: Callable[[str], requests.Response], url: str
) -> None:
    assert send(url).status_code == 200


def test_a_label_named_like_a_header_stays_a_label(url: str) -> None:
    labels = json.dumps(["a\u2028b", "Content-Type: text/html", "%0d%0aX: y"])
    answer = requests.post(url, files={"image": PNG}, data={"labels": labels}, timeout=60)
    assert answer.status_code == 200
    assert "X" not in answer.headers
