"""What TorchServe hands over for one request -> a checked, typed request.

TorchServe gives a row of named values and a dictionary of headers; how they look depends on how the client sent them
(multipart, raw body with query string or headers, JSON, gRPC). Here the ways meet.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lseg_serve.segmenter import (
    MODES,
    InvalidImageError,
    InvalidLabelsError,
    InvalidOptionError,
    InvalidRequestError,
    UnsupportedImageError,
)

FORMATS = ("png", "color", "overlay", "json", "npz", "zip")
GEOMETRIES = ("rle", "polygons", "label_studio")
HEADER_PREFIX = "x-lseg-"
_FIELDS = ("image", "labels", "format", "mode", "threshold", "alpha", "geometry")
# TorchServe's own names for the body, and what it adds on some routes.
_BODY_FIELDS = ("body", "data")
_IGNORED_FIELDS = ("model_name",)
_FORMAT_OF_TYPE = {
    "image/png": "png",
    "image/*": "png",
    "*/*": "png",
    "application/json": "json",
    "application/zip": "zip",
    "application/x-npz": "npz",
}
_DATA_URI = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """One request as the client meant it; labels and image are checked further on."""

    image: bytes
    labels: list[object] | None = None  # None: the label set exported with the model
    format: str = "png"
    mode: str | None = None  # None: what the configuration says
    threshold: float = 0.0
    alpha: float = 0.5
    geometry: str = "rle"


def plain_headers(headers: Mapping[str, object]) -> dict[str, str]:
    """The request's own headers by lower-case name.

    TorchServe puts the content type of each form field among them, as dictionaries, and reads every byte as latin-1.
    """
    return {name.lower(): _utf8(value) for name, value in headers.items() if isinstance(value, str)}


def _utf8(value: str) -> str:
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def parse_request(row: Mapping[str, object], headers: Mapping[str, str]) -> Request:
    """The request in a row of TorchServe and its plain headers.

    Raises:
        InvalidRequestError: what was sent cannot be understood; a subclass names the field.
    """
    fields = _with_headers(_fields(row, headers), headers)
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        name = unknown[0][:60]
        raise InvalidOptionError(f"unknown field {name!r}; accepted: {', '.join(_FIELDS)}", name)
    return Request(
        image=_image(fields.get("image")),
        labels=_labels(fields["labels"]) if "labels" in fields else None,
        format=_one_of("format", fields.get("format", _accepted_format(headers.get("accept", ""))), FORMATS),
        mode=_one_of("mode", fields["mode"], MODES) if "mode" in fields else None,
        threshold=_fraction("threshold", fields.get("threshold", 0.0)),
        alpha=_fraction("alpha", fields.get("alpha", 0.5)),
        geometry=_one_of("geometry", fields.get("geometry", "rle"), GEOMETRIES),
    )


def _fields(row: Mapping[str, object], headers: Mapping[str, str]) -> dict[str, object]:
    """The named values of a request, the image among them, whichever way it came."""
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/x-www-form-urlencoded" and "image" not in row:
        raise UnsupportedImageError(
            "the body was sent as application/x-www-form-urlencoded (curl's default for --data-binary); "
            "name its type, for instance with -H 'Content-Type: image/png'"
        )
    fields = {name: value for name, value in row.items() if name not in (*_BODY_FIELDS, *_IGNORED_FIELDS)}
    body = next((row[name] for name in _BODY_FIELDS if name in row), None)
    if isinstance(body, dict):
        return {**fields, **body}
    if content_type == "application/json" and body is not None:
        what = "not valid JSON" if isinstance(body, bytes | bytearray) else f"a JSON {type(body).__name__}"
        raise InvalidRequestError(f"the body is {what}; accepted: a JSON object with image and labels")
    if body is not None and "image" in fields:
        raise InvalidImageError("there are two images, in the field image and as the body; accepted: one")
    if body is not None:
        fields["image"] = body
    return fields


def _with_headers(fields: dict[str, object], headers: Mapping[str, str]) -> dict[str, object]:
    """`fields`, and the X-LSeg-... headers for what they do not say."""
    named = {
        name.removeprefix(HEADER_PREFIX): value for name, value in headers.items() if name.startswith(HEADER_PREFIX)
    }
    return {**named, **fields}


def _image(value: object) -> bytes:
    """The bytes of the image file: as they came, or from base64 or a data URI in JSON."""
    if value is None:
        raise InvalidImageError(
            "there is no image; accepted: the field image, a raw body, or JSON with image as base64"
        )
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if not isinstance(value, str):
        raise InvalidImageError(f"image is a {type(value).__name__}; accepted: a file, or base64 text in JSON")
    uri = _DATA_URI.match(value)
    encoded = "".join(value[uri.end() if uri else 0 :].split())
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImageError(f"image is text ({value[:30]!r}...) that is no base64: {error}") from error


def _labels(value: object) -> list[object]:
    """A JSON list, or text split at commas."""
    if isinstance(value, list):
        return value
    text = _text("labels", value).strip()
    if not text.startswith("["):
        return list(text.split(",")) if text else []
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidLabelsError(f"labels begins with '[' but is not a JSON list: {error}") from error
    if not isinstance(listed, list):  # such as '[1] 2' could only be reached by a decoder that is lenient
        raise InvalidLabelsError(f"labels is a JSON {type(listed).__name__}; accepted: a list, or text split at commas")
    return listed


def _text(name: str, value: object) -> str:
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidOptionError(f"{name} is not UTF-8 text: {error}", name) from error
    if isinstance(value, str):
        return value
    raise InvalidOptionError(f"{name} is {str(value)[:60]!r}, a {type(value).__name__}; accepted: text", name)


def _one_of(name: str, value: object, accepted: tuple[str, ...]) -> str:
    text = _text(name, value).strip()
    if text not in accepted:
        raise InvalidOptionError(f"{name} is {text[:60]!r}; accepted: {', '.join(accepted)}", name)
    return text


def _fraction(name: str, value: object) -> float:
    """A number from 0 to 1."""
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value) if isinstance(value, int | float) else float(_text(name, value))
    except (ValueError, OverflowError):
        number = float("nan")
    if not 0 <= number <= 1:
        shown = bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else value
        raise InvalidOptionError(f"{name} is {str(shown)[:60]!r}; accepted: a number from 0 to 1", name)
    return number


def _accepted_format(accept: str) -> str:
    """The format that an Accept header prefers, png where it names none of them."""
    choices: list[tuple[float, str]] = []
    for part in accept.split(","):
        media_type, _, parameters = part.strip().lower().partition(";")
        quality = re.search(r"q=([0-9.]+)", parameters)
        weight = float(quality[1]) if quality and re.fullmatch(r"\d(\.\d*)?", quality[1]) else 1.0
        if weight > 0 and media_type.strip() in _FORMAT_OF_TYPE:
            choices.append((weight, _FORMAT_OF_TYPE[media_type.strip()]))
    return max(choices, key=lambda choice: choice[0])[1] if choices else "png"
