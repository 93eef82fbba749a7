"""However a client sends a request, the same is understood; what cannot be is answered with the field at fault."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from lseg_serve.handler.formats import FORMATS, GEOMETRIES, PARTS
from lseg_serve.handler.repeated_fields import Repeated
from lseg_serve.handler.request_model import Request, request_schema
from lseg_serve.handler.requests import parse_request, plain_headers
from lseg_serve.segmenter import Config
from lseg_serve.segmenter.errors import (
    InvalidImageError,
    InvalidLabelsError,
    InvalidOptionError,
    InvalidRequestError,
    UnsupportedImageError,
)
from tests.support.pictures import encoded, gradient, noise

IMAGE = encoded(gradient(4, 6))
BASE64 = base64.b64encode(IMAGE).decode()
ACCEPTED_FIELDS = (
    "image, labels, template, format, mode, threshold, alpha, geometry, tolerance, parts, bands, range, container,"
    " points, dtype, preset, scales, flip, base_size, crop_size"
)
Row = dict[str, object]


def _as_latin1(text: str) -> str:
    """A header value as TorchServe hands it over: every byte a character."""
    return text.encode("utf-8").decode("latin-1")


def _parsed(row: Row, **headers: object) -> Request:
    return parse_request(row, plain_headers({name.replace("_", "-"): value for name, value in headers.items()}))


def _multipart(**fields: str) -> Row:
    return {"image": bytearray(IMAGE), **{name: bytearray(value.encode()) for name, value in fields.items()}}


def _raw_with_query(**fields: str) -> Row:
    return {**{name: bytearray(value.encode()) for name, value in fields.items()}, "body": bytearray(IMAGE)}


def _grpc(**fields: str) -> Row:
    return {"data": bytearray(IMAGE), **{name: bytearray(value.encode()) for name, value in fields.items()}}


def _json(**fields: object) -> Row:
    return {"body": {"image": BASE64, **fields}}


WAYS: dict[str, Callable[..., Row]] = {
    "multipart": _multipart,
    "query": _raw_with_query,
    "grpc": _grpc,
    "json": _json,
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


@every_way
def test_an_image_alone_is_a_request_with_the_defaults(way: Callable[..., Row]) -> None:
    request = _parsed(way())
    assert request == Request(image=IMAGE)
    assert (request.labels, request.format, request.mode) == (None, "png", None)
    assert (request.threshold, request.alpha, request.geometry) == (0.0, 0.5, "rle")
    assert type(request.image) is bytes


@every_way
def test_every_option_is_understood(way: Callable[..., Row]) -> None:
    fields = {"labels": "a cat, 日本 ,sky", "format": "json", "mode": "fast", "threshold": "0.25", "alpha": "1e-1"}
    request = _parsed(way(**fields, geometry="polygons"))
    assert request.image == IMAGE
    assert request.labels == ["a cat", " 日本 ", "sky"]
    assert (request.format, request.threshold, request.alpha, request.geometry) == ("json", 0.25, 0.1, "polygons")


def test_options_are_read_from_headers_in_any_case() -> None:
    row: Row = {"body": bytearray(IMAGE)}
    for prefix in ("X-LSeg-", "x-lseg-", "X-LSEG-"):
        headers: dict[str, object] = {
            f"{prefix}Labels": _as_latin1("a cat,日本"),
            f"{prefix}FORMAT": "overlay",
            f"{prefix}alpha": "0.75",
        }
        request = parse_request(row, plain_headers(headers))
        assert request == Request(image=IMAGE, labels=["a cat", "日本"], format="overlay", alpha=0.75)


def test_a_field_beats_a_header() -> None:
    headers: dict[str, object] = {"X-LSeg-Format": "zip", "X-LSeg-Labels": "dog", "X-LSeg-Alpha": "0.1"}
    for way in WAYS.values():
        request = parse_request(way(format="color", labels="cat"), plain_headers(headers))
        assert (request.format, request.labels, request.alpha) == ("color", ["cat"], 0.1)


@pytest.mark.parametrize("labels", ["猫", "café", "Ünïcode", "👩‍👩‍👧", "plain"])
def test_utf8_in_a_header_is_recovered_from_latin1(labels: str) -> None:
    assert plain_headers({"X-LSeg-Labels": _as_latin1(labels)}) == {"x-lseg-labels": labels}


@pytest.mark.parametrize("value", ["caf\xe9", "猫"], ids=["latin-1 itself", "beyond latin-1"])
def test_a_header_that_is_no_utf8_stays_as_it_came(value: str) -> None:
    assert plain_headers({"X-LSeg-Labels": value}) == {"x-lseg-labels": value}


def test_the_content_types_of_form_fields_are_no_headers() -> None:
    headers: dict[str, object] = {"labels": {"content-type": ""}, "image": {"content-type": "image/png"}, "Host": "x"}
    assert plain_headers(headers) == {"host": "x"}
    assert parse_request(_multipart(labels="cat"), plain_headers(headers)).labels == ["cat"]


@pytest.mark.parametrize(
    ("sent", "labels"),
    [
        ("cat", ["cat"]),
        ("cat,dog", ["cat", "dog"]),
        (" cat , dog \n", ["cat ", " dog"]),
        ('["cat", "a, b", "日本"]', ["cat", "a, b", "日本"]),
        (' ["cat"] ', ["cat"]),
        ('["\\u732b", 1, null, ["x"]]', ["猫", 1, None, ["x"]]),
        ("[]", []),
        ("", []),
        (" \n", []),
        ("cat,,dog,", ["cat", "", "dog", ""]),
        ('"cat","dog"', ['"cat"', '"dog"']),
    ],
)
def test_labels_are_a_json_list_or_text_split_at_commas(sent: str, labels: list[object]) -> None:
    for way in (_multipart, _raw_with_query, _grpc, _json):
        assert _parsed(way(labels=sent)).labels == labels


def test_labels_may_be_a_list_already() -> None:
    """As JSON has them, and as TorchServe decodes a part with a file name and a JSON type."""
    assert _parsed(_json(labels=["a, b", "日本"])).labels == ["a, b", "日本"]
    assert _parsed({"image": bytearray(IMAGE), "labels": ["cat", 1]}).labels == ["cat", 1]
    assert _parsed({"image": bytearray(IMAGE), "labels": "cat,dog"}).labels == ["cat", "dog"]


def _refused(row: Row, error: type[InvalidRequestError], field: str | None, match: str, **headers: str) -> None:
    with pytest.raises(error, match=match) as caught:
        _parsed(row, **headers)
    assert type(caught.value) is error
    assert caught.value.field == field


@pytest.mark.parametrize(
    "labels",
    ["[", "['cat']", '["cat"', '["cat"] dog', "[cat]", "[" * 100_000, "[" + "9" * 5_000 + "]", '["\\ud8"]'],
    ids=["bracket", "quotes", "open", "more behind", "bare", "deep", "a long number", "half an escape"],
)
def test_a_broken_json_list_of_labels_is_refused(labels: str) -> None:
    _refused(_multipart(labels=labels), InvalidLabelsError, "labels", "labels begins with '.' but is not a JSON list")


def test_labels_that_are_no_utf8_are_refused() -> None:
    row: Row = {"image": bytearray(IMAGE), "labels": bytearray(b"cat,\xff\xfe")}
    _refused(row, InvalidLabelsError, "labels", "labels is not UTF-8")


@pytest.mark.parametrize(
    ("labels", "words"),
    [(7, r"a number \(7\)"), ({"a": 1}, "an object"), (True, "true"), (False, "false"), (1.5, r"a number \(1\.5\)")],
)
def test_labels_that_are_no_list_and_no_text_are_refused_in_the_words_of_json(labels: object, words: str) -> None:
    match = f"labels is {words}; accepted: a list of texts, or text"
    _refused(_json(labels=labels), InvalidLabelsError, "labels", match)


@every_way
@pytest.mark.parametrize("name", ["label", "Labels", "thresh", "x", "", "画像"])
def test_an_unknown_field_is_refused_by_its_name(way: Callable[..., Row], name: str) -> None:
    _refused(way(**{name: "1"}), InvalidOptionError, name, f"unknown field '{name}'; accepted: {ACCEPTED_FIELDS}")


def test_an_unknown_header_of_ours_is_refused_and_any_other_is_none_of_ours() -> None:
    row: Row = {"body": bytearray(IMAGE)}
    _refused(row, InvalidOptionError, "label", "unknown field 'label'", X_LSeg_Label="cat")
    headers = {"X-Labels": "cat", "User-Agent": "curl/8", "url_path": "labels/a", "explain": "True", "lseg-format": "x"}
    assert parse_request(row, plain_headers(headers)) == Request(image=IMAGE)


def test_the_message_about_a_field_stays_short_however_long_its_name() -> None:
    """The answer would else outgrow what TorchServe passes on, and the worker would die of it."""
    with pytest.raises(InvalidOptionError) as caught:
        _parsed(_json(**{"x" * 1_000_000: 1}))
    assert len(caught.value.message) + len(caught.value.field or "") < 1_000


@pytest.mark.parametrize("option", ["format", "mode", "geometry", "parts"])
@pytest.mark.parametrize("value", ["", "PNG", "gif", "png,json", "x" * 100_000, "\x00", "日本"], ids=lambda v: v[:9])
def test_a_choice_that_is_none_is_refused_with_those_there_are(option: str, value: str) -> None:
    choices = {"format": FORMATS, "mode": ("fast", "accurate"), "geometry": GEOMETRIES, "parts": PARTS}
    accepted = choices[option]
    with pytest.raises(InvalidOptionError, match=f"{option} is .*; accepted: {accepted[0]}") as caught:
        _parsed(_multipart(**{option: value}))
    assert all(name in caught.value.message for name in accepted)
    assert len(caught.value.message) < 400
    assert caught.value.field == option


@pytest.mark.parametrize("option", ["format", "mode", "geometry", "parts"])
@pytest.mark.parametrize("value", [1, True, ["png"], {"a": 1}], ids=repr)
def test_a_choice_in_json_that_is_no_text_is_refused(option: str, value: object) -> None:
    _refused(_json(**{option: value}), InvalidOptionError, option, f"{option} is .*; accepted: text")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_named(name: str) -> None:
    assert _parsed(_multipart(format=name)).format == name
    assert _parsed(_multipart(format=f" {name}\n")).format == name


@pytest.mark.parametrize("option", ["threshold", "alpha"])
@pytest.mark.parametrize(
    ("value", "number"), [("0", 0), ("1", 1), ("0.5", 0.5), (" .5 ", 0.5), ("5e-1", 0.5), ("-0", 0), ("1.0", 1)]
)
def test_numbers_from_zero_to_one_are_understood(option: str, value: str, number: float) -> None:
    for way in WAYS.values():
        assert getattr(_parsed(way(**{option: value})), option) == number


@pytest.mark.parametrize("value", [0, 1, 0.25, 1e-9])
def test_numbers_in_json_are_understood(value: float) -> None:
    assert _parsed(_json(threshold=value)).threshold == value


@pytest.mark.parametrize("option", ["threshold", "alpha"])
@pytest.mark.parametrize(
    "value", ["abc", "", "nan", "inf", "-inf", "true", "1.5", "-0.1", "50%", "0,5", "0x1", "1e400", "[0]", "9" * 9_999]
)
def test_text_that_is_no_number_from_zero_to_one_is_refused(option: str, value: str) -> None:
    for way in WAYS.values():
        with pytest.raises(InvalidOptionError, match=f"{option} is .*; accepted: a number from 0 to 1") as caught:
            _parsed(way(**{option: value}))
        assert caught.value.field == option
        assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "value",
    [True, False, math.nan, math.inf, 1.5, -1, 10**400, [0.5], {"a": 1}, "x" * 10_000],
    ids=lambda v: str(v)[:9],
)
def test_what_is_no_number_in_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidOptionError, match="threshold is ") as caught:
        _parsed(_json(threshold=value))
    assert (caught.value.status, caught.value.field) == (400, "threshold")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("value", "bands"), [("4,3,2", (4, 3, 2)), (" 1 ", (1,)), ("[8, 4, 3]", (8, 4, 3)), ("65535", (65_535,))]
)
def test_bands_are_one_number_or_three(value: str, bands: tuple[int, ...]) -> None:
    for way in WAYS.values():
        assert _parsed(way(bands=value)).bands == bands


@pytest.mark.parametrize(
    ("value", "limits"), [("0,4095", (0, 4095)), ("-1024, 3071", (-1024, 3071)), ("[0, 0.5]", (0, 0.5))]
)
def test_a_range_is_two_numbers(value: str, limits: tuple[float, float]) -> None:
    for way in WAYS.values():
        assert _parsed(way(range=value)).range == limits


def test_bands_and_a_range_in_json_may_be_lists() -> None:
    request = _parsed(_json(bands=[4, 3, 2], range=[0, 0.5]))
    assert (request.bands, request.range) == ((4, 3, 2), (0, 0.5))
    assert _parsed(_json(bands=4)).bands == (4,)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "1,2",
        "1,2,3,4",
        "red",
        "1;2;3",
        "1.5",
        "-1",
        "65536",
        "nan",
        "1,,2",
        [],
        [0],
        [True],
        [[1]],
        {},
        10**400,
    ],
    ids=lambda value: str(value)[:9],
)
def test_what_names_no_bands_is_refused(value: object) -> None:
    with pytest.raises(InvalidOptionError, match=r"bands is .*; accepted: one band or three, such as 4,3,2") as caught:
        _parsed(_json(bands=value))
    assert (caught.value.status, caught.value.field, len(caught.value.message) < 200) == (400, "bands", True)


@pytest.mark.parametrize(
    "value",
    ["", "5", "0,1,2", "9,1", "1,1", "0,inf", "nan,1", "black,white", [0], [0, "x"], [None, 1], True, {"low": 0}],
    ids=lambda value: str(value)[:11],
)
def test_what_is_no_range_is_refused(value: object) -> None:
    with pytest.raises(
        InvalidOptionError, match=r"range is .*; accepted: the values that are black and white"
    ) as caught:
        _parsed(_json(range=value))
    assert (caught.value.status, caught.value.field) == (400, "range")


def test_a_number_that_is_no_utf8_is_refused() -> None:
    _refused({"image": IMAGE, "alpha": bytearray(b"\xff")}, InvalidOptionError, "alpha", "alpha is ")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "png"),
        ("", "png"),
        ("image/png", "png"),
        ("image/*", "png"),
        ("application/json", "json"),
        ("Application/JSON; charset=utf-8", "json"),
        ("application/zip", "zip"),
        ("application/x-npz", "npz"),
        ("text/html", "png"),
        ("application/json, image/png", "json"),
        ("image/png, application/json", "png"),
        ("application/json;q=0.5, image/png", "png"),
        ("application/json;q=0.5, image/png;q=0.4", "json"),
        ("image/png;q=0.1,application/zip;q=0.9,application/json;q=0.8", "zip"),
        ("application/json; q=1.0", "json"),
        ("text/html, application/json;q=0.9, */*;q=0.8", "json"),
        ("application/json;q=0, */*", "png"),
        ("application/json;q=0.1, */*;q=0.9", "png"),
        ("image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", "png"),
        (";;,,q=;q=x,application/json;q=abc", "json"),
    ],
)
def test_without_a_format_the_accept_header_chooses(accept: str, expected: str) -> None:
    """RFC 9110, 12.5.1: the highest q wins, no q is 1, and q=0 means never."""
    assert _parsed({"body": bytearray(IMAGE)}, accept=accept).format == expected


def test_a_named_format_beats_the_accept_header() -> None:
    assert _parsed(_multipart(format="color"), Accept="application/json").format == "color"
    assert _parsed({"body": IMAGE}, Accept="application/json", X_LSeg_Format="zip").format == "zip"


@pytest.mark.parametrize(
    "image",
    [
        BASE64,
        f"data:image/png;base64,{BASE64}",
        f"DATA:image/png;charset=x;BASE64,{BASE64}",
        f"data:;base64,{BASE64}",
        "\n".join(BASE64[at : at + 20] for at in range(0, len(BASE64), 20)),
        f"  {BASE64}\r\n",
    ],
    ids=["plain", "data URI", "odd data URI", "no type", "wrapped lines", "spaces around"],
)
def test_an_image_in_json_is_base64_or_a_data_uri(image: str) -> None:
    assert _parsed({"body": {"image": image}}).image == IMAGE


@pytest.mark.parametrize(
    "image",
    [
        "https://example.org/cat.png",
        "cat.png",
        BASE64[:-3],
        BASE64 + "*",
        f"data:image/png,{BASE64}",
        f"junkdata:image/png;base64,{BASE64}",
        "猫",
        "\ud800",
    ],
    ids=["link", "file name", "cut off", "odd character", "no base64", "not at the start", "not ASCII", "surrogate"],
)
def test_text_that_is_no_base64_is_refused(image: str) -> None:
    _refused({"body": {"image": image}}, InvalidImageError, "image", "image is (text|a link) .* no base64")


@pytest.mark.parametrize("image", [7, True, 1.5, ["x"], {"b64": "x"}], ids=repr)
def test_an_image_that_is_no_text_in_json_is_refused(image: object) -> None:
    _refused({"body": {"image": image}}, InvalidImageError, "image", "image is .*; accepted: a file, or base64 text")


@pytest.mark.parametrize(
    "row",
    [{}, {"labels": bytearray(b"cat")}, {"body": {}}, {"body": {"labels": ["cat"]}}, {"body": {"image": None}}],
    ids=repr,
)
def test_a_request_without_an_image_is_refused(row: Row) -> None:
    _refused(row, InvalidImageError, "image", "there is no image; accepted: the field image, a raw body, or JSON")


def test_an_empty_body_is_an_empty_image_for_the_decoder_to_name() -> None:
    assert _parsed({"body": bytearray()}).image == b""


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_a_body_that_is_broken_json_is_refused(content_type: str) -> None:
    row: Row = {"body": bytearray(b'{"image": ')}
    _refused(
        row,
        InvalidRequestError,
        None,
        r"the body is not valid JSON \(.*; accepted: a JSON object",
        Content_Type=content_type,
    )


@pytest.mark.parametrize(
    ("body", "what"),
    [([IMAGE], "a list"), (["a"], "a list"), ("text", "a string"), (7, "a number"), (1.5, "a number"), (True, "true")],
)
def test_json_that_is_no_object_is_refused(body: object, what: str) -> None:
    row: Row = {"body": body}
    _refused(
        row, InvalidRequestError, None, f"the body is JSON, but {what}.*; accepted", Content_Type="application/json"
    )


def test_json_null_is_no_image() -> None:
    _refused({"body": None}, InvalidImageError, "image", "there is no image", Content_Type="application/json")


def test_a_text_body_is_base64_or_refused() -> None:
    assert _parsed({"body": BASE64}, Content_Type="text/plain").image == IMAGE
    _refused({"body": "hello, world"}, InvalidImageError, "image", "no base64", Content_Type="text/plain")


@pytest.mark.parametrize("row", [{"\x89PNG\r\n": bytearray(b"")}, {"labels": bytearray(b"cat")}, {}], ids=repr)
def test_a_form_urlencoded_body_is_refused_with_the_way_out(row: Row) -> None:
    """What curl --data-binary sends without a type; TorchServe has mangled the image by then."""
    content_type = "application/x-www-form-urlencoded"
    with pytest.raises(UnsupportedImageError, match="-H 'Content-Type: image/png'") as caught:
        _parsed(row, Content_Type=content_type)
    assert (caught.value.status, caught.value.field) == (415, "image")


def test_json_fields_beat_those_of_the_query_string() -> None:
    row: Row = {"labels": bytearray(b"dog"), "format": bytearray(b"zip"), "body": {"image": BASE64, "labels": ["cat"]}}
    request = _parsed(row, Content_Type="application/json")
    assert (request.labels, request.format) == (["cat"], "zip")


def test_what_torchserve_adds_on_the_invocations_route_is_no_field_of_the_client() -> None:
    row: Row = {"model_name": bytearray(b"lseg"), "labels": bytearray(b"cat"), "body": bytearray(IMAGE)}
    assert _parsed(row) == Request(image=IMAGE, labels=["cat"])


def test_errors_say_what_a_program_needs() -> None:
    rows: list[tuple[Row, dict[str, Any]]] = [
        (_json(format="gif"), {"status": 400, "type": "invalid_option", "field": "format"}),
        (_json(labels="["), {"status": 400, "type": "invalid_labels", "field": "labels"}),
        ({}, {"status": 400, "type": "invalid_image", "field": "image"}),
    ]
    for row, expected in rows:
        with pytest.raises(InvalidRequestError) as caught:
            _parsed(row)
        assert {name: getattr(caught.value, name) for name in expected} == expected
        json.dumps(caught.value.message)


def test_the_schema_has_every_field_with_its_limits_and_its_meaning() -> None:
    schema = request_schema(Config(max_labels=7, mode="accurate"))
    fields = schema["properties"]
    assert ", ".join(fields) == ACCEPTED_FIELDS
    assert schema["additionalProperties"] is False
    assert "required" not in schema
    labels_alone = {"required": ["labels", "format"], "properties": {"format": {"const": "embeddings"}}}
    assert schema["anyOf"] == [{"required": ["image"]}, labels_alone]
    assert all(field["description"] for field in fields.values())
    assert fields["labels"]["maxItems"] == 7
    assert fields["points"]["maxItems"] == 100_000
    unset = (
        "image",
        "labels",
        "template",
        "bands",
        "range",
        "points",
        "preset",
        "scales",
        "flip",
        "base_size",
        "crop_size",
    )
    assert [name for name, field in fields.items() if "default" not in field] == sorted(unset, key=list(fields).index)
    assert (fields["bands"]["minItems"], fields["bands"]["maxItems"], fields["bands"]["items"]["minimum"]) == (1, 3, 1)
    assert (fields["range"]["minItems"], fields["range"]["maxItems"]) == (2, 2)
    enums = {name: field["enum"] for name, field in fields.items() if "enum" in field}
    assert enums == {
        "format": [*FORMATS],
        "mode": ["fast", "accurate"],
        "geometry": [*GEOMETRIES],
        "parts": [*PARTS],
        "container": ["npz", "safetensors"],
        "dtype": ["float16", "float32"],
        "preset": ["openscene", "vlmaps"],
    }
    assert (fields["mode"]["default"], fields["format"]["default"], fields["geometry"]["default"]) == (
        "accurate",
        "png",
        "rle",
    )
    configured = request_schema(Config(template=("a {}", "the {}"), max_templates=3))["properties"]["template"]
    assert configured["default"] == ["a {}", "the {}"]
    assert configured["anyOf"][1]["maxItems"] == 3
    for name, most, default in (("threshold", 1, 0), ("alpha", 1, 0.5), ("tolerance", 100, 0.75)):
        assert (fields[name]["minimum"], fields[name]["maximum"], fields[name]["default"]) == (0, most, default)


@pytest.mark.parametrize("value", ["-0.1", "101", "nan", "inf", "", "fine"])
def test_a_tolerance_is_pixels(value: str) -> None:
    _refused(
        _multipart(tolerance=value), InvalidOptionError, "tolerance", "tolerance is .*; accepted: pixels, 0 to 100"
    )
    assert _parsed(_multipart(tolerance=" 2.5 ")).tolerance == 2.5


def test_a_request_in_python_is_refused_in_the_same_words() -> None:
    with pytest.raises(InvalidOptionError, match=r"alpha is a number \(2\.0\); accepted: a number from 0 to 1"):
        Request(image=IMAGE, alpha=2.0)


@pytest.mark.parametrize("odd", ["image", "labels", "format", "threshold"])
def test_an_unknown_field_is_named_before_any_other_mistake(odd: str) -> None:
    body = {"image": BASE64, odd: {}, "colour": "red"}
    _refused({"body": body}, InvalidOptionError, "colour", "unknown field 'colour'")


def test_a_request_in_a_log_shows_no_image() -> None:
    assert "image" not in repr(Request(image=IMAGE))


def _several(*texts: str) -> Repeated:
    return Repeated(tuple(bytearray(text.encode()) for text in texts))


@pytest.mark.parametrize(
    ("sent", "labels"),
    [
        (("sky", "grass"), ["sky", "grass"]),
        (("sky,grass", "house"), ["sky", "grass", "house"]),
        (('["a, b"]', "c", '["d", "e"]'), ["a, b", "c", "d", "e"]),
        (("sky", ""), ["sky", ""]),
        (("sky", "sky"), ["sky", "sky"]),
    ],
)
def test_labels_in_several_fields_are_taken_together_in_their_order(sent: tuple[str, ...], labels: list[str]) -> None:
    assert _parsed({"image": bytearray(IMAGE), "labels": _several(*sent)}).labels == labels
    assert _parsed({"body": bytearray(IMAGE), "labels": _several(*sent)}).labels == labels


def test_two_images_are_refused() -> None:
    images = Repeated((bytearray(IMAGE), bytearray(IMAGE)))
    _refused({"image": images}, InvalidImageError, "image", "there are 2 images in the field image; accepted: one")
    _refused({"data": images}, InvalidImageError, "image", "there are 2 images")


@pytest.mark.parametrize("name", ["format", "threshold", "mode"])
def test_an_option_is_given_once(name: str) -> None:
    row: Row = {"image": bytearray(IMAGE), name: _several("png", "png")}
    _refused(row, InvalidOptionError, name, f"{name} is given 2 times; accepted: once")


def test_a_header_of_ours_in_two_spellings_is_refused_and_others_are_none_of_ours() -> None:
    twice: dict[str, object] = {"X-LSeg-Labels": "a", "x-lseg-labels": "b"}
    with pytest.raises(InvalidOptionError, match="x-lseg-labels is sent more than once; accepted: once"):
        plain_headers(twice)
    assert plain_headers({"Accept": "a", "accept": "b"}) == {"accept": "b"}


@pytest.mark.parametrize("name", ["labels", "format", "mode", "threshold", "alpha", "geometry"])
def test_null_is_the_same_as_absent(name: str) -> None:
    assert _parsed(_json(**{name: None})) == Request(image=IMAGE)
    headers = {f"X_LSeg_{name}": "1"}
    if name in ("threshold", "alpha"):
        assert getattr(_parsed(_json(**{name: None}), **headers), name) == 1, (
            "a header counts where the field is absent"
        )
    assert _parsed(_json(format=None), Accept="application/json").format == "json"
    _refused(_json(colour=None), InvalidOptionError, "colour", "unknown field 'colour'")


@pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "application/vnd.api+json", "TEXT/JSON", ""])
def test_json_by_any_name_is_a_request(content_type: str) -> None:
    body = bytearray(json.dumps({"image": BASE64, "labels": ["cat"]}).encode())
    assert _parsed({"body": body}, Content_Type=content_type) == Request(image=IMAGE, labels=["cat"])


@pytest.mark.parametrize("content_type", ["image/png", "application/json"])
def test_a_gzip_body_is_a_request(content_type: str) -> None:
    content = IMAGE if content_type == "image/png" else json.dumps({"image": BASE64}).encode()
    row: Row = {"body": bytearray(gzip.compress(content))}
    assert _parsed(row, Content_Type=content_type, Content_Encoding="gzip") == Request(image=IMAGE)


@pytest.mark.parametrize(
    "image",
    [
        BASE64,
        f"data:image/png;base64,{BASE64}",
        f"\n{BASE64}\n",
        "\n".join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76)),
        base64.urlsafe_b64encode(IMAGE).decode(),
        BASE64.rstrip("="),
    ],
    ids=["base64", "data URI", "lines around", "wrapped", "url-safe", "no padding"],
)
def test_an_image_as_text_in_a_form_or_a_body_is_decoded(image: str) -> None:
    assert _parsed({"image": bytearray(image.encode())}).image == IMAGE
    assert _parsed({"body": bytearray(image.encode())}).image == IMAGE
    assert _parsed({"body": {"image": image}}).image == IMAGE


def test_a_plus_sign_that_a_url_encoded_form_made_a_space_is_mended() -> None:
    image = next(picture for picture in map(encoded, (noise(9, 9, seed) for seed in range(20))) if _has_plus(picture))
    row: Row = {"image": bytearray(base64.b64encode(image).replace(b"+", b" ")), "labels": bytearray(b"cat")}
    assert _parsed(row, Content_Type="application/x-www-form-urlencoded").image == image


def _has_plus(image: bytes) -> bool:
    return b"+" in base64.b64encode(image)


@pytest.mark.parametrize(
    "image", [b"hello", b"aGVsbG8gd29ybGQsIHRoaXMgaXMgbm8gaW1hZ2U=", b"P6 1 1 255 abc", b"A" * 100], ids=repr
)
def test_a_file_that_is_no_encoded_image_is_left_to_the_decoder(image: bytes) -> None:
    assert _parsed({"image": bytearray(image)}).image == image


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (b"https://example.org/cat.png", "is a link .* links are not fetched; accepted: a file"),
        (b"data:image/svg+xml,%3Csvg/%3E", "no base64"),
        (BASE64.encode() + b"!", "no base64: .*; accepted: a file, or its bytes as base64 or a data URI"),
    ],
)
def test_text_that_says_what_it_is_and_cannot_be_read_is_refused(image: bytes, match: str) -> None:
    _refused({"image": bytearray(image)}, InvalidImageError, "image", match)


def test_a_form_without_its_boundary_is_named() -> None:
    row: Row = {"body": bytearray(b"--x\r\nContent-Disposition: form-data\r\n")}
    _refused(row, InvalidRequestError, None, "names no boundary", Content_Type="multipart/form-data")


def test_json_that_curl_called_a_form_is_told_its_type() -> None:
    row: Row = {'{"image": "aGVs': bytearray(b'"}')}
    with pytest.raises(UnsupportedImageError, match="-H 'Content-Type: application/json'"):
        _parsed(row, Content_Type="application/x-www-form-urlencoded")
