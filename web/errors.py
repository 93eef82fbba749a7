"""Errors in the project's form, and what TorchServe's own answers become in it.

A worker's errors have that form already (`handler/responses.py`). TorchServe's have another or, as its 413, none.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from lseg_serve.web.answers import ErrorAnswer, ErrorDetail, State

# Seconds after which to ask again, where that helps.
_RETRY_SECONDS = {"overloaded": 2, "not_ready": 3, "device_lost": 3, "worker_died": 1}
_WORKER_GONE = "Worker died"
_JAVA_MEMORY = ("OutOfMemory", "direct memory", "direct buffer memory")


class AppError(Exception):
    """An error with its status, its type for programs, its message for people, and the field at fault."""

    def __init__(self, status: int, type_: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.type = type_
        self.message = message
        self.field = field

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After`, where asking again helps."""
        seconds = _RETRY_SECONDS.get(self.type)
        return {} if seconds is None else {"Retry-After": str(seconds)}

    def body(self) -> bytes:
        """The error as JSON."""
        detail = ErrorDetail(code=self.status, type=self.type, message=self.message, field=self.field)
        return ErrorAnswer(error=detail).model_dump_json().encode()


def too_large(accepted: int) -> AppError:
    """For a request that has more bytes than the app passes on."""
    return AppError(413, "too_large", f"the request is too large; accepted: up to {accepted} bytes", "image")


def endpoint_error(status: int, body: bytes, model: str, state: State | None) -> AppError:
    """The error that an answer with `status` from 400 on means.

    Args:
        status: of the answer.
        body: of the answer, or its beginning.
        model: the model's name, for the message.
        state: of the model after the answer, where it was asked for: TorchServe says the same, that there is no worker,
            of a full queue.
    """
    document = _document(body)
    own = _own_form(status, document)
    if own is not None:
        return own
    message = str(document.get("message", "")) if isinstance(document, dict) else ""
    if _WORKER_GONE in message:
        return AppError(
            status if status in (500, 507) else 500,
            "worker_died",
            "the worker of the model ended during this request; another takes its place: send the request again",
        )
    if status == 413:
        return AppError(413, "too_large", "the request is larger than the server accepts (max_request_size)", "image")
    if status == 503:
        return _unavailable(model, state)
    if status == 404:
        return AppError(404, "unknown_model", f"there is no model {model!r} at this server")
    if status == 507 or any(sign in message for sign in _JAVA_MEMORY):
        return AppError(507, "out_of_memory", "the server ran out of memory over this request; send a smaller image")
    if status in (408, 504):
        return AppError(504, "timed_out", "the server gave the request up, as it took too long")
    if status < 500:
        return AppError(
            400, "invalid_request", f"the server does not understand the request: {message[:200] or status}"
        )
    return AppError(500, "internal_error", f"the server failed: {message[:200] or status}; its log has the cause")


def _unavailable(model: str, state: State | None) -> AppError:
    if state == "no_worker":
        return AppError(503, "not_ready", f"the model {model} has no worker; scale it up on the management port")
    if state == "warming":
        return AppError(503, "not_ready", f"the model {model} is loading")
    return AppError(503, "overloaded", f"too many requests wait for the model {model}; send this one again later")


def _own_form(status: int, document: Any) -> AppError | None:
    """A worker's error, as it is."""
    try:
        detail = ErrorAnswer.model_validate(document).error
    except ValidationError:
        return None
    return AppError(status, detail.type, detail.message, detail.field)


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:  # a UnicodeDecodeError is one
        return None
