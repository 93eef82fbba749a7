"""Requests for embeddings: points as JSON or as a file of numbers, options, labels alone, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest

from lseg_serve.handler.request_model import Request
from lseg_serve.handler.requests import parse_request, plain_headers
from lseg_serve.segmenter import EmbedOptions, InvalidImageError, InvalidOptionError, InvalidRequestError
from tests.support.pictures import encoded, gradient

IMAGE = encoded(gradient(4, 6))
Row = dict[str, object]


def _parsed(row: Row, **headers: object) -> Request:
    return parse_request(row, plain_headers(headers))


def _refused(row: Row, error: type[InvalidRequestError], field: str, words: str) -> None:
    with pytest.raises(error) as caught:
        _parsed(row)
    assert caught.value.field == field
    assert words in caught.value.message


NPY = b"\x93NUMPY"


def _npy(array: np.ndarray, *, pickled: bool = False) -> bytearray:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return bytearray(buffer.getvalue())


def _embeddings(**fields: object) -> Row:
    return {"image": bytearray(IMAGE), "format": "embeddings", **fields}


@pytest.mark.parametrize(
    "points",
    [
        [[1, 2.5], [3, 4]],
        "[[1, 2.5], [3, 4]]",
        bytearray(b"[[1, 2.5], [3, 4]]"),
        _npy(np.array([[1, 2.5], [3, 4]])),
        _npy(np.array([[1, 2.5], [3, 4]], dtype=">f4", order="F")),
    ],
    ids=["list", "text", "part", "npy", "other order"],
)
def test_points_come_as_json_or_as_a_file_of_numbers(points: object) -> None:
    assert _parsed(_embeddings(points=points)).points.tolist() == [[1, 2.5], [3, 4]]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("[[1, 2]", "points is no JSON: .*; accepted: a list of"),
        ("1,2", "points is no JSON"),
        (bytearray(b"\xff\xfe"), "points is not UTF-8"),
        ("[" * 100_000, "points is no JSON"),
        ("[1, 2]", r"point 1 is 1; accepted: \[x, y\]"),
        ("[[1, null]]", r"point 1 is \[1, None\]"),
        ('{"x": 1}', "points is of type dict"),
        (_npy(np.array([[1, {}]], dtype=object), pickled=True), "holds pickled objects; accepted: numbers"),
        (_npy(np.zeros((3, 3))), r"the shape \[3, 3\]; accepted: \[N, 2\]"),
        (_npy(np.zeros(4)), r"the shape \[4\]"),
        (_npy(np.zeros((0, 2))), r"the shape \[0, 2\]"),
        (_npy(np.zeros((2, 2), dtype=complex)), "values of type complex128"),
        (_npy(np.zeros((2, 2), dtype="U3")), "values of type <U3"),
        (_npy(np.zeros((2, 2)))[:-1], "has 31 bytes of numbers; its header says 32"),
        (_npy(np.zeros((2, 2))) + bytearray(b"x"), "has 33 bytes"),
        (_npy(np.zeros((2, 2))).replace(b"(2, 2)", b"(9999999999, 2)"), "bytes of numbers|no file of NumPy"),
        (bytearray(NPY), "no file of NumPy that can be read"),
        (bytearray(NPY + b"\x01\x00\x05\x00(((((("), "no file of NumPy that can be read"),
        (bytearray(NPY + b"\x09\x00\x05\x00"), "no file of NumPy that can be read"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_points_that_are_none_are_refused(points: object, message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message) as caught:
        _parsed(_embeddings(points=points))
    assert caught.value.field == "points"


def test_options_of_embeddings_come_as_text_or_json() -> None:
    expected = EmbedOptions("accurate", None, (0.75, 1.0), False, 640, 480, "float32")
    text = {"mode": "accurate", "scales": "0.75, 1", "flip": "FALSE", "base_size": "640", "crop_size": b"480"}
    plain = {"mode": "accurate", "scales": [0.75, 1], "flip": False, "base_size": 640, "crop_size": 480}
    for fields in (text, plain):
        assert _parsed(_embeddings(**fields, dtype="float32")).embed_options == expected


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [
        ("flip", "perhaps", "true or false"),
        ("scales", "one", "numbers above 0"),
        ("base_size", "5.5", "a whole number of pixels"),
        ("crop_size", [], "a whole number of pixels"),
        ("dtype", "int8", "float16, float32"),
        ("preset", "clip", "openscene, vlmaps"),
        ("container", "pickle", "npz, safetensors"),
    ],
)
def test_options_of_embeddings_that_are_not_accepted_are_named(field: str, value: object, accepted: str) -> None:
    _refused(_embeddings(**{field: value}), InvalidOptionError, field, f"accepted: {accepted}")


@pytest.mark.parametrize("field", ["points", "dtype", "preset", "scales", "flip", "base_size", "crop_size"])
def test_no_other_format_takes_them(field: str) -> None:
    values = {"points": "[[1, 2]]", "dtype": "float32", "preset": "vlmaps", "scales": "1", "flip": "true"}
    row: Row = {"image": bytearray(IMAGE), field: values.get(field, "480")}
    _refused(
        row, InvalidOptionError, field, f"{field} is given with the format png; accepted: with the format embeddings"
    )


def test_labels_alone_are_a_request_for_embeddings_only() -> None:
    request = _parsed({"labels": "cat,dog", "format": "embeddings"})
    assert (request.has_image, request.labels) == (False, ["cat", "dog"])
    form: Row = {"labels": bytearray(b"cat"), "format": bytearray(b"embeddings")}
    assert not _parsed(form, **{"Content-Type": "application/x-www-form-urlencoded"}).has_image
    assert _parsed(_embeddings(labels="cat")).has_image
    rows: list[Row] = [{"labels": "cat"}, {"format": "embeddings"}, {"labels": "cat", "format": "json"}]
    for row in rows:
        _refused(row, InvalidImageError, "image", "there is no image")
    assert _parsed({"labels": "cat", "format": "embeddings", "image": bytearray()}).has_image  # an empty file is one


@pytest.mark.parametrize(
    ("accept", "fields", "expected"),
    [
        ("application/x-safetensors", {}, ("embeddings", "safetensors")),
        ("application/x-safetensors", {"format": " embeddings"}, ("embeddings", "safetensors")),
        ("application/x-npz", {"format": "embeddings"}, ("embeddings", "npz")),
        ("*/*", {"format": "embeddings"}, ("embeddings", "npz")),
        ("application/x-npz;q=0.5, application/x-safetensors", {"format": "embeddings"}, ("embeddings", "safetensors")),
        ("application/x-safetensors", {"format": "embeddings", "container": "npz"}, ("embeddings", "npz")),
        ("application/x-safetensors", {"format": "png"}, ("png", "npz")),
        ("application/x-npz", {}, ("npz", "npz")),
    ],
)
def test_accept_chooses_the_file_of_embeddings(accept: str, fields: Row, expected: tuple[str, str]) -> None:
    request = _parsed({"image": bytearray(IMAGE), **fields}, Accept=accept)
    assert (request.format, request.container) == expected
