"""Which protocol a request speaks. TorchServe does not tell its worker the address that a request came to.

So a request is known by its body, or by a header: that of v2's binary form, or the one that the front sets from the
address.
"""

from __future__ import annotations

from collections.abc import Mapping

from lseg_serve.handler.bodies import json_object, media_type, unpacked
from lseg_serve.handler.protocols import v1, v2
from lseg_serve.handler.protocols.call import Call
from lseg_serve.handler.requests import PROTOCOL_HEADER, body_of
from lseg_serve.segmenter import InvalidRequestError

_ACCEPTED = {
    "v1": "accepted: a JSON object with instances",
    "v2": "accepted: a JSON object with inputs, or one with raw tensors behind it and its length in the header "
    "Inference-Header-Content-Length",
}
_BEGINNING = 1_000  # bytes in which an object must begin
# What only one protocol's requests have.
_MEMBERS = {"instances": "v1", "inputs": "v2"}


def protocol_of(row: Mapping[str, object], headers: Mapping[str, str], most_bytes: int) -> str | None:
    """Name the protocol, v1 or v2; None for a plain request, and for what its own parser will refuse.

    Args:
        row: the request as TorchServe hands it over.
        headers: its headers, as `plain_headers` makes them.
        most_bytes: what a compressed body may unpack to.
    """
    named = headers.get(PROTOCOL_HEADER, "").strip().lower()
    if named in _ACCEPTED:
        return named
    if v2.LENGTH_HEADER in headers:
        return "v2"
    body = body_of(row)
    if body is None:
        return None
    try:
        body = unpacked(body, headers, most_bytes)
        if isinstance(body, bytes | bytearray) and not _may_be_a_protocols(body):
            return None
        document = json_object(body, media_type(headers)) or {}
    except InvalidRequestError:
        return None
    return next((protocol for member, protocol in _MEMBERS.items() if member in document), None)


def _may_be_a_protocols(body: bytes | bytearray) -> bool:
    """Whether bytes are worth to be parsed: they begin as an object, and have the name of a member."""
    beginning = bytes(body[:_BEGINNING]).removeprefix(b"\xef\xbb\xbf").lstrip()
    return beginning.startswith(b"{") and any(f'"{member}"'.encode() in body for member in _MEMBERS)


def call_of(protocol: str, row: Mapping[str, object], headers: Mapping[str, str], most_bytes: int) -> Call:
    """The request in a row of TorchServe, read as one of `protocol`. A compressed body may unpack to `most_bytes`.

    Raises:
        InvalidRequestError: it is none.
    """
    body = unpacked(body_of(row), headers, most_bytes)
    length = headers.get(v2.LENGTH_HEADER)
    tensors = b""
    if protocol == "v2" and length is not None and isinstance(body, bytes | bytearray):
        body, tensors = v2.split(bytes(body), length)
    named_type = "application/json" if isinstance(body, bytes) else media_type(headers)  # of bytes that were split
    document = json_object(body, named_type, _ACCEPTED[protocol])
    if document is None:
        raise InvalidRequestError(f"the body is no request of the protocol {protocol}; {_ACCEPTED[protocol]}")
    return v1.read(document) if protocol == "v1" else v2.read(document, tensors, headers)
