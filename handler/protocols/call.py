"""What a request of a protocol is to the rest of the handler: plain requests, and how their responses become one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lseg_serve.handler.responses import FRAMING_BYTES, Response, ServerInfo, failure
from lseg_serve.segmenter import ResponseTooLargeError

# Of one request. Its images share the limits of pixels and seconds that one image has.
MOST_IMAGES = 64
_ERROR_CHARACTERS = 2_000


@dataclass(frozen=True)
class Call:
    """A request of a protocol."""

    requests: tuple[Mapping[str, object], ...]  # the fields of the plain request for each image
    accept: str  # the media type of the plain responses where no format is asked for
    answer: Callable[[Sequence[Response], ServerInfo], Response]  # of plain responses without error


def error_text(message: str, status: int) -> Response:
    """The response to a request that failed, in the form of both protocols: `{"error": "text"}`."""
    return failure(status, {"error": message[:_ERROR_CHARACTERS]})


def message_of(response: Response) -> str:
    """The message of a plain response with an error."""
    return str(json.loads(response.body)["error"]["message"])


def check_bytes(count: int, server: ServerInfo, instead: str) -> None:
    """Refuse a response with a body of at least `count` bytes that TorchServe would not pass on.

    Raises:
        ResponseTooLargeError: it would not; the message names what to do `instead`.
    """
    accepted = server.max_response_bytes - FRAMING_BYTES
    if count > accepted:
        raise ResponseTooLargeError(
            f"the response has {count} bytes or more; accepted: up to {accepted} (max_response_size in "
            f"config.properties, max_response_bytes in model-config.yaml); {instead}"
        )
