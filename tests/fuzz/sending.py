"""Hostile requests on their way: past the front or through it, and what must hold of each answer."""

from __future__ import annotations

import json
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass

from tests.fuzz.hostile import Hostile

_OWN = {"code", "type", "message", "field"}
_FRONTS_500 = "the server failed over this request"
_CHUNK = 1000


@dataclass(frozen=True)
class Target:
    """Where requests go. With a key and a context for TLS it is the front, without them TorchServe."""

    host: str
    port: int
    key: str | None = None
    tls: ssl.SSLContext | None = None
    source: str = "127.0.0.1"
    seconds: float = 90
    # For what breaks HTTP itself: TorchServe alone waits for ever for a body that does not come.
    seconds_of_broken: float = 2

    def send(self, request: Hostile) -> bytes:
        """The answer, as it comes over a connection of its own; empty where none comes."""
        with suppress(ConnectionError, ssl.SSLError):
            seconds = self.seconds_of_broken if request.broken else self.seconds
            plain = socket.create_connection((self.host, self.port), seconds, (self.source, 0))
            connection = plain if self.tls is None else self.tls.wrap_socket(plain, server_hostname="localhost")
            with connection:
                # An answer may come, and the connection be closed, while the request is still being sent.
                with suppress(ConnectionError, ssl.SSLError):
                    connection.sendall(self._wire(request))
                return _all(connection)
        return b""

    def _wire(self, request: Hostile) -> bytes:
        lines = [f"{request.method} {request.path} HTTP/1.1", "Host: localhost", "Connection: close"]
        if self.key is not None:
            lines.append(f"X-API-Key: {self.key}")
        lines += [f"{name}: {value}" for name, value in request.headers]
        body = request.body
        if request.framing == "length":
            lines.append(f"Content-Length: {len(body)}")
        elif request.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
            pieces = [body[start : start + _CHUNK] for start in range(0, len(body), _CHUNK)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Verdict:
    """What an answer is: its status (0: none), and what is wrong with it, if anything is."""

    status: int
    fault: str | None = None


def judged(request: Hostile, answer: bytes, *, through_front: bool) -> Verdict:
    """The verdict on an answer.

    Documented, and so no fault: any 4xx; 503 and 507; of TorchServe alone a 500 in its own form, for a form that it
    cannot decode; of the front 501, and its word for that 500. A request that breaks HTTP itself may get nothing.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    if match is None:
        return Verdict(0, None if request.broken else f"no answer: {answer[:80]!r}")
    status = int(match[1])
    if b"Worker died" in body or b'"worker_died"' in body:
        return Verdict(status, "the worker died")
    if status < 400:
        return Verdict(status, None if body or status != 200 else "an empty answer")
    error = _error(body)
    if through_front and error is None and request.method != "HEAD":
        return Verdict(status, f"no error in the project's form: {body[:100]!r}")
    if status < 500 or status in (503, 507) or (status == 501 and through_front):
        return Verdict(status)
    if status == 500 and through_front and _FRONTS_500 in str(error):
        return Verdict(status)
    if status == 500 and not through_front and error is None:
        return Verdict(status)
    return Verdict(status, f"{status}: {body[:200]!r}")


def _error(body: bytes) -> object | None:
    """The error in the project's form or, as the protocols v1 and v2 have it, a text."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return None
    return error if isinstance(error, str) or (isinstance(error, dict) and set(error) == _OWN) else None


def _all(connection: socket.socket) -> bytes:
    """An answer to its end, which is where its length says: TorchServe keeps connections that it was asked to close."""
    answer = b""
    with suppress(ConnectionError, ssl.SSLError):
        while not _complete(answer) and (part := connection.recv(65536)):
            answer += part
    return answer


def _complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])
