"""What goes back to the client: the body in the format that was asked for, its headers, or an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from lseg_serve.handler.formats import FORMAT_BY_NAME
from lseg_serve.handler.formats.colors import legend
from lseg_serve.handler.formats.content import Content, ServerInfo
from lseg_serve.handler.formats.embeddings import TYPE_OF_CONTAINER, encode_embeddings
from lseg_serve.handler.request_model import Request
from lseg_serve.segmenter import Embedding, Pixels, ResponseTooLargeError, Segmentation, SegmenterError

__all__ = [
    "Response",
    "ServerInfo",
    "check_embedding_bytes",
    "embedding_response",
    "error_response",
    "failure",
    "make_response",
]

# Proxies and clients commonly refuse headers beyond 8 kB in all.
_LEGEND_HEADER_BYTES = 7_000
# Everything printable in ASCII but '%': the header stays readable, and decodes with any percent-decoder.
_HEADER_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
# The same limit holds for an error, which a header says again.
_ERROR_HEADER_BYTES = 4_000
# TorchServe's limit counts the headers and framing of a response, too; this much of it is kept for them.
FRAMING_BYTES = 64_000


@dataclass(frozen=True)
class Response:
    """The body of an HTTP response, and what describes it."""

    body: bytes
    content_type: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def make_response(request: Request, image: Pixels, result: Segmentation, server: ServerInfo) -> Response:
    """The response to `request` on `image` [H, W, 3].

    Raises:
        ResponseTooLargeError: it would be too large for TorchServe, which kills a worker over such a response.
    """
    response_format = FORMAT_BY_NAME[request.format]
    options = {name: getattr(request, name) for name in ("alpha", "geometry", "tolerance", "parts")}
    body = response_format.encode(Content(image, result, server, **options))
    accepted = server.max_response_bytes - FRAMING_BYTES
    if len(body) > accepted:
        raise ResponseTooLargeError(
            f"the response has {len(body)} bytes as {request.format}; accepted: up to {accepted} (max_response_size in "
            "config.properties, max_response_bytes in model-config.yaml); format png is the smallest",
            "format",
        )
    return Response(body, response_format.content_type, headers=_headers(result, server))


def embedding_response(request: Request, result: Embedding, server: ServerInfo) -> Response:
    """The response to `request` for embeddings.

    Raises:
        ResponseTooLargeError: as `make_response`.
    """
    body = encode_embeddings(result, request.container)
    check_embedding_bytes(len(body), server)
    legend_headers = {} if result.labels is None else _legend_headers(result.labels.labels)
    headers = {"X-LSeg-Device": server.device, **legend_headers, **_timing_headers(result.seconds, server)}
    return Response(body, TYPE_OF_CONTAINER[request.container], headers=headers)


def check_embedding_bytes(count: int, server: ServerInfo) -> None:
    """Refuse embeddings of `count` bytes that could not be passed on, before they are computed.

    Raises:
        ResponseTooLargeError: there are too many.
    """
    accepted = server.max_response_bytes - FRAMING_BYTES
    if count > accepted:
        raise ResponseTooLargeError(
            f"the embeddings take {count} bytes; accepted: up to {accepted} (max_response_size in config.properties, "
            "max_response_bytes in model-config.yaml); a map takes the fewest in mode fast and as float16, points take "
            "1 kB each",
            "format",
        )


def error_response(error: SegmenterError) -> Response:
    """The response to a request that failed. Its body repeats the status, which gRPC does not pass on."""
    body: dict[str, Any] = {
        "error": {"code": int(error.status), "type": error.type, "message": error.message, "field": error.field}
    }
    return failure(int(error.status), body)


def failure(status: int, body: Mapping[str, Any]) -> Response:
    """A response with an error, as JSON.

    The header `X-LSeg-Error` repeats the body, which is one line of ASCII. By it a proxy tells a worker's errors, which
    it passes on, from TorchServe's own, which it replaces.
    """
    text = json.dumps(body)
    headers = {"X-LSeg-Error": text} if len(text) <= _ERROR_HEADER_BYTES else {}
    return Response(text.encode(), "application/json", status, headers)


def _headers(result: Segmentation, server: ServerInfo) -> dict[str, str]:
    return {
        "X-LSeg-Device": server.device,
        **_legend_headers(result.labels),
        **_timing_headers(result.seconds, server),
    }


def _timing_headers(seconds: Mapping[str, float], server: ServerInfo) -> dict[str, str]:
    if not server.timings:
        return {}
    return {"Server-Timing": ", ".join(f"{stage};dur={own * 1000:.1f}" for stage, own in seconds.items())}


@lru_cache(maxsize=64)
def _legend_headers(labels: tuple[str, ...]) -> dict[str, str]:
    """The legend as percent-encoded JSON: whole entries from the first on, as many as a header can hold."""
    entries: list[str] = []
    length = 2
    for entry in legend(labels):
        text = quote(json.dumps(entry, ensure_ascii=False, separators=(",", ":")), safe=_HEADER_SAFE)
        length += len(text) + 1
        if length > _LEGEND_HEADER_BYTES:
            return {"X-LSeg-Legend": f"[{','.join(entries)}]", "X-LSeg-Legend-Truncated": "true"}
        entries.append(text)
    return {"X-LSeg-Legend": f"[{','.join(entries)}]"}
