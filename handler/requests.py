"""Reads a request from what TorchServe hands over, however the client sent it.

TorchServe gives a row of named values and a dictionary of headers. How they look depends on how the client sent them:
multipart, raw body with query string or headers, JSON, gRPC. Here the ways meet; `request_model.py` checks the fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lseg_serve.handler.bodies import FORM, MOST_BYTES, json_object, media_type, unpacked
from lseg_serve.handler.formats import CONTAINER_OF_MEDIA_TYPE, FORMAT_OF_MEDIA_TYPE
from lseg_serve.handler.repeated_fields import Repeated
from lseg_serve.handler.request_model import Request, asks_for_embeddings, labels_alone
from lseg_serve.segmenter import InvalidImageError, InvalidOptionError, InvalidRequestError, UnsupportedImageError

HEADER_PREFIX = "x-lseg-"
# By which the front tells which protocol a request came by, from its address; it is no option.
PROTOCOL_HEADER = f"{HEADER_PREFIX}protocol"
# TorchServe's own names for the body, and what it adds on some routes.
_BODY_FIELDS = ("body", "data")
_IGNORED_FIELDS = ("model_name",)


def plain_headers(headers: Mapping[str, object]) -> dict[str, str]:
    """The request's own headers by lower-case name.

    TorchServe puts the content type of each form field among them, as dictionaries, and reads every byte as latin-1.
    Of headers of one spelling it keeps the last alone, which leaves no trace.

    Raises:
        InvalidOptionError: one of ours came in several spellings.
    """
    plain: dict[str, str] = {}
    for spelling, value in headers.items():
        name = spelling.lower()
        if not isinstance(value, str):
            continue
        if name in plain and name.startswith(HEADER_PREFIX):
            raise InvalidOptionError(
                f"the header {name} is sent more than once; accepted: once", name.removeprefix(HEADER_PREFIX)
            )
        plain[name] = _utf8(value)
    return plain


def _utf8(value: str) -> str:
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def body_of(row: Mapping[str, object]) -> object:
    """The body of a request in a row of TorchServe; None where it came as the fields of a form."""
    return next((row[name] for name in _BODY_FIELDS if name in row), None)


def parse_request(row: Mapping[str, object], headers: Mapping[str, str], most_bytes: int = MOST_BYTES) -> Request:
    """The request in a row of TorchServe and its plain headers. A compressed body may unpack to `most_bytes`.

    Raises:
        InvalidRequestError: what was sent cannot be understood; a subclass names the field.
    """
    named = {
        name.removeprefix(HEADER_PREFIX): value
        for name, value in headers.items()
        if name.startswith(HEADER_PREFIX) and name != PROTOCOL_HEADER
    }
    fields = _overridden(named, _fields(row, headers, most_bytes))
    accepted = {"format": _accepted(headers.get("accept", ""), FORMAT_OF_MEDIA_TYPE, "png")}
    merged = _overridden(accepted, fields)
    if asks_for_embeddings(merged):
        container = _accepted(headers.get("accept", ""), CONTAINER_OF_MEDIA_TYPE, "npz")
        merged = _overridden({"container": container}, merged)
    return Request.model_validate(merged)


def _fields(row: Mapping[str, object], headers: Mapping[str, str], most_bytes: int) -> dict[str, object]:
    """The named values of a request, the image among them, whichever way it came."""
    body = unpacked(body_of(row), headers, most_bytes)
    fields = {name: value for name, value in row.items() if name not in (*_BODY_FIELDS, *_IGNORED_FIELDS)}
    content_type = media_type(headers)
    if content_type == FORM and not labels_alone(fields):
        _mend_form(fields)
    document = None if isinstance(body, Repeated) else json_object(body, content_type)
    if document is not None:
        return _overridden(fields, document)
    if content_type.startswith("multipart/") and isinstance(body, bytes | bytearray) and body.startswith(b"--"):
        raise InvalidRequestError(
            f"the header Content-Type: {content_type} names no boundary, so the form cannot be read; leave the header "
            "to the client that makes the form"
        )
    if body is not None and "image" in fields:
        raise InvalidImageError("there are two images, in the field image and as the body; accepted: one")
    if body is not None:
        fields["image"] = body
    return fields


def _mend_form(fields: dict[str, object]) -> None:
    """Undo what a form in a URL's encoding does to base64: each plus sign that was sent as it is became a space.

    Raises:
        UnsupportedImageError: the form holds no image, so it is most likely an image or JSON without its type.
    """
    if "image" not in fields:
        kind = "application/json" if any(name.lstrip().startswith("{") for name in fields) else "image/png"
        raise UnsupportedImageError(
            f"the body was sent as {FORM} (curl's default for --data-binary); "
            f"name its type, for instance with -H 'Content-Type: {kind}'"
        )
    if isinstance(fields["image"], bytes | bytearray):
        fields["image"] = fields["image"].strip().replace(b" ", b"+")


def _overridden(fields: Mapping[str, object], by: Mapping[str, object]) -> dict[str, object]:
    """`fields`, and `by` over them. Its null is the same as absent, and so overrides nothing."""
    return {**by, **fields, **{name: value for name, value in by.items() if value is not None}}


def _accepted(accept: str, names: Mapping[str, str], default: str) -> str:
    """Which of `names`, by media type, an Accept header prefers; `default` where it names none of them."""
    choices: list[tuple[float, str]] = []
    for part in accept.split(","):
        media_type, _, parameters = part.strip().lower().partition(";")
        quality = re.search(r"q=([0-9.]+)", parameters)
        weight = float(quality[1]) if quality and re.fullmatch(r"\d(\.\d*)?", quality[1]) else 1.0
        if weight > 0 and media_type.strip() in names:
            choices.append((weight, names[media_type.strip()]))
    return max(choices, key=lambda choice: choice[0])[1] if choices else default
