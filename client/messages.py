"""Requests and replies as plain data, and operations that yield them without sending anything themselves.

An operation is a generator. It yields what it wants done, a `Request` to send or a `Wait`, is sent the `Reply`, and
returns its result. So how a mask is asked for is written once, and `transport.py` does what is yielded, with threads
or with asyncio.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import httpx2

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One HTTP request."""

    method: str
    url: str
    timeout: float  # seconds, from the sending to the last byte of the reply
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold a token
    follow_redirects: bool = False
    most_bytes: int | None = None  # of the reply's body; beyond it the reply is cut off, one byte too long


@dataclass(frozen=True)
class Wait:
    """A pause."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """One HTTP response, read to its end."""

    status: int
    reason: str
    headers: Mapping[str, str]  # by lower-case name
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.body.decode("utf-8", "replace")


Operation = Generator[Request | Wait, Reply | None, T]


@dataclass(frozen=True)
class Done:
    """The end of an operation, with its result."""

    result: object


def advance(operation: Operation[T], outcome: Reply | Exception | None) -> Request | Wait | Done:
    """Let `operation` go on with the outcome of what it yielded last; None at its start and after a `Wait`."""
    try:
        return operation.throw(outcome) if isinstance(outcome, Exception) else operation.send(outcome)
    except StopIteration as stop:
        return Done(stop.value)


def ask(request: Request) -> Operation[Reply]:
    """Send `request` and return its reply, whatever its status."""
    reply = yield request
    assert reply is not None
    return reply


def form(fields: Mapping[str, str], image: bytes | None, points: bytes | None = None) -> tuple[bytes, str]:
    """A multipart form of `fields` and the files `image` and `points`, where there are any: its body, its content type.

    Raises:
        UnicodeEncodeError: a field is no text that UTF-8 can hold.
    """
    given = {"image": image, "points": points}
    files = {name: (name, content) for name, content in given.items() if content is not None}
    # Without a file, the fields are parts of a form as well, not of a URL-encoded body.
    parts = {**{name: (None, text.encode()) for name, text in fields.items()}, **files}
    request = httpx2.Request("POST", "http://127.0.0.1", files=parts)
    return request.read(), request.headers["Content-Type"]
