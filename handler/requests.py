"""Reads a request from what TorchServe hands over, however the client sent it.

TorchServe gives a row of named values and a dictionary of headers. How they look depends on how the client sent them:
multipart, raw body with query string or headers, JSON, gRPC. Here the ways meet; `request_model.py` checks the fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lseg_serve.handler.formats import FORMAT_OF_MEDIA_TYPE
from lseg_serve.handler.request_model import Request
from lseg_serve.segmenter import InvalidImageError, InvalidRequestError, UnsupportedImageError

HEADER_PREFIX = "x-lseg-"
# TorchServe's own names for the body, and what it adds on some routes.
_BODY_FIELDS = ("body", "data")
_IGNORED_FIELDS = ("model_name",)


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
    return Request.model_validate({"format": _accepted_format(headers.get("accept", "")), **fields})


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


def _accepted_format(accept: str) -> str:
    """The format that an Accept header prefers, png where it names none of them."""
    choices: list[tuple[float, str]] = []
    for part in accept.split(","):
        media_type, _, parameters = part.strip().lower().partition(";")
        quality = re.search(r"q=([0-9.]+)", parameters)
        weight = float(quality[1]) if quality and re.fullmatch(r"\d(\.\d*)?", quality[1]) else 1.0
        if weight > 0 and media_type.strip() in FORMAT_OF_MEDIA_TYPE:
            choices.append((weight, FORMAT_OF_MEDIA_TYPE[media_type.strip()]))
    return max(choices, key=lambda choice: choice[0])[1] if choices else "png"
