"""A body is what it is: JSON by any name and in any Unicode encoding, compressed or not, or an image."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from lseg_serve.handler.bodies import json_object, unpacked
from lseg_serve.segmenter import InvalidRequestError, RequestTooLargeError
from tests.support.pictures import encoded, gradient

IMAGE = encoded(gradient(4, 6))
DOCUMENT = {"image": "aGVsbG8=", "labels": ["\u732b", "caf\u00e9"]}
TEXT = json.dumps(DOCUMENT, ensure_ascii=False)


@pytest.mark.parametrize(
    "named", ["application/json", "text/json", "text/x-json", "application/x-json", "application/vnd.api+json", ""]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_has_many_names_and_encodings(named: str, encoding: str) -> None:
    if named or "32" not in encoding:
        assert json_object(bytearray(TEXT.encode(encoding)), named) == DOCUMENT


@pytest.mark.parametrize("named", ["text/plain", "", "application/octet-stream", "image/png"])
@pytest.mark.parametrize("body", [TEXT, f"\ufeff{TEXT}", f"\n {TEXT}\n"], ids=["plain", "BOM", "spaces"])
def test_what_begins_like_an_object_is_json_whatever_its_type(named: str, body: str) -> None:
    assert json_object(body, named) == DOCUMENT
    assert json_object(bytearray(body.encode()), named) == DOCUMENT


@pytest.mark.parametrize(
    "body", [IMAGE, b"{\\rtf1\\ansi}", b"", b"hello", b"[1]", bytes(2_000)], ids=lambda body: str(body[:6])
)
def test_what_does_not_begin_like_an_object_is_left_to_the_decoder(body: bytes) -> None:
    assert json_object(bytearray(body), "") is None


@pytest.mark.parametrize(
    "body", [b'{"image": ', b"{}}", b'{"a": \xff}', b'{"a":' * 100_000], ids=["cut", "more", "bytes", "deep"]
)
def test_broken_json_is_refused_by_any_name(body: bytes) -> None:
    for named in ("application/x-json", ""):
        with pytest.raises(InvalidRequestError, match=r"the body is not valid JSON .*; accepted: a JSON object"):
            json_object(bytearray(body), named)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
def test_a_gzip_body_is_unpacked(coding: str) -> None:
    assert unpacked(bytearray(gzip.compress(IMAGE)), {"content-encoding": coding}, len(IMAGE)) == IMAGE
    halves = gzip.compress(IMAGE[:10]) + gzip.compress(IMAGE[10:])
    assert unpacked(halves, {"content-encoding": coding}, len(IMAGE)) == IMAGE


def test_what_is_not_compressed_is_left_alone() -> None:
    assert unpacked(IMAGE, {}, 1) is IMAGE
    assert unpacked(IMAGE, {"content-encoding": "identity"}, 1) is IMAGE
    assert unpacked(DOCUMENT, {"content-encoding": "gzip"}, 1) is DOCUMENT, "TorchServe could read it"


def test_a_gzip_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    with pytest.raises(RequestTooLargeError, match="more than 1000 bytes; accepted: up to 1000") as caught:
        unpacked(bomb, {"content-encoding": "gzip"}, 1_000)
    assert (caught.value.status, caught.value.type) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("body", "coding", "match"),
    [
        (IMAGE, "gzip", "no whole gzip"),
        (gzip.compress(IMAGE)[:-10], "gzip", "no whole gzip"),
        (gzip.compress(IMAGE)[:20] + bytes(50), "gzip", "no whole gzip"),
        (zlib.compress(IMAGE), "deflate", "'deflate'; accepted: gzip"),
        (IMAGE, "br", "'br'; accepted: gzip"),
        (IMAGE, "gzip, gzip", "'gzip, gzip'; accepted: gzip"),
        (None, "gzip", "the form is compressed"),
    ],
)
def test_any_other_compression_is_refused(body: bytes | None, coding: str, match: str) -> None:
    with pytest.raises(InvalidRequestError, match=match):
        unpacked(body, {"content-encoding": coding}, 1_000_000)
