"""What a body is, by what it says of itself and by its first bytes: compressed or not, JSON or an image."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Mapping

from lseg_serve.labelsets import kind_in_json
from lseg_serve.segmenter import InvalidRequestError, RequestTooLargeError

# What a body may unpack to where the caller does not say: max_request_size in config/config.properties.
MOST_BYTES = 100_000_000
FORM = "application/x-www-form-urlencoded"

_JSON_TYPE = re.compile(r"(application|text)/(x-)?json|[^/]+/[^/]+\+json")
# The beginning of a JSON object, also in UTF-16 and behind a byte order mark. No image file begins like that.
_OBJECT = re.compile(rb'(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*\{[\s\0]*["}]')
_BEGINNING = 1_000  # bytes in which an object must begin
_ACCEPTED = "accepted: a JSON object with image and labels"


def media_type(headers: Mapping[str, str]) -> str:
    """The type that the body is said to have, in lower case and without parameters; empty where none is named."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def unpacked(body: object, headers: Mapping[str, str], most_bytes: int) -> object:
    """`body` as it was before the client compressed it with gzip. TorchServe passes it on as it came.

    Raises:
        InvalidRequestError: it is compressed in another way, is no gzip, or is a form, of which TorchServe can read
            nothing.
        RequestTooLargeError: it unpacks to more than `most_bytes`.
    """
    coding = headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity") or isinstance(body, dict | str):  # what TorchServe could read is not compressed
        return body
    if coding not in ("gzip", "x-gzip"):
        raise InvalidRequestError(f"Content-Encoding is {coding[:60]!r}; accepted: gzip, or a body as it is")
    if not isinstance(body, bytes | bytearray) or media_type(headers) == FORM:
        raise InvalidRequestError(
            "the form is compressed, and TorchServe reads only forms that are not; accepted: the form as it is, or an "
            "image or JSON, compressed with gzip"
        )
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(body)).read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidRequestError(f"Content-Encoding is gzip, but the body is no whole gzip: {error}") from error
    if len(content) > most_bytes:
        raise RequestTooLargeError(f"the body unpacks to more than {most_bytes} bytes; accepted: up to {most_bytes}")
    return content


def json_object(body: object, named_type: str, accepted: str = _ACCEPTED) -> dict[str, object] | None:
    """The JSON object that `body` is; None where it is something else, such as an image.

    It is JSON if its media type `named_type` says so, by whatever name, or if it begins like an object. So `fetch` may
    send it as text/plain, and curl without a type.

    Raises:
        InvalidRequestError: the body must be JSON, but is damaged or no object; the message says what is `accepted`.
    """
    if isinstance(body, dict):
        return body
    if body is None:
        return None
    document = body  # TorchServe has parsed application/json already, so text of that type is a string in JSON
    if isinstance(body, bytes | bytearray) or (isinstance(body, str) and named_type != "application/json"):
        if not _JSON_TYPE.fullmatch(named_type) and not _begins_like_an_object(body):
            return None
        document = _parsed(body, accepted)
    if not isinstance(document, dict):
        raise InvalidRequestError(f"the body is JSON, but {kind_in_json(document)}; {accepted}")
    return document


def _begins_like_an_object(body: bytes | bytearray | str) -> bool:
    beginning = body[:_BEGINNING].encode("utf-8", "replace") if isinstance(body, str) else bytes(body[:_BEGINNING])
    return _OBJECT.match(beginning) is not None


def _parsed(body: bytes | bytearray | str, accepted: str) -> object:
    """JSON from text, or from bytes in UTF-8, UTF-16 or UTF-32, which `json` tells apart."""
    try:
        document: object = json.loads(body.removeprefix("\ufeff") if isinstance(body, str) else bytes(body))
    except (ValueError, RecursionError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise InvalidRequestError(f"the body is not valid JSON ({reason}); {accepted}") from error
    return document
