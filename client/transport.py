"""Sends requests over HTTP, with httpx2, whose types and errors do not leave this file."""

from __future__ import annotations

import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx2

from lseg_serve.client.errors import BadAnswer, BadInput, TimedOut, Unreachable
from lseg_serve.client.messages import Reply, Request

_CONNECT_SECONDS = 30
_REDIRECTS = 5


class Transport:
    """Sends requests and returns replies. May be used by several threads at once."""

    def __init__(self) -> None:
        self._clients: dict[bool, httpx2.Client] = {}
        self._lock = threading.Lock()
        self._closed = False

    def send(self, request: Request) -> Reply:
        """Send `request` and read its reply to the end.

        Raises:
            ClientError: Unreachable, TimedOut, BadInput or BadAnswer.
        """
        client = self._client(on_loopback(request.url))
        with _errors(request):
            reading = _Reading(request)
            with client.stream(**_arguments(request)) as response:
                for chunk in response.iter_bytes():
                    if reading.is_full_with(chunk):
                        break
                return reading.reply(response)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            self._closed = True
            for client in self._clients.values():
                client.close()

    def _client(self, direct: bool) -> httpx2.Client:
        with self._lock:
            if self._closed:
                raise RuntimeError("this client is closed")
            if direct not in self._clients:
                self._clients[direct] = httpx2.Client(**_settings(direct))
            return self._clients[direct]


class AsyncTransport:
    """The same for asyncio. Belongs to one event loop."""

    def __init__(self) -> None:
        self._clients: dict[bool, httpx2.AsyncClient] = {}
        self._closed = False

    async def send(self, request: Request) -> Reply:
        """Send `request` and read its reply to the end; errors as in `Transport`."""
        client = self._client(on_loopback(request.url))
        with _errors(request):
            reading = _Reading(request)
            async with client.stream(**_arguments(request)) as response:
                async for chunk in response.aiter_bytes():
                    if reading.is_full_with(chunk):
                        break
                return reading.reply(response)

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        for client in self._clients.values():
            await client.aclose()

    def _client(self, direct: bool) -> httpx2.AsyncClient:
        if self._closed:
            raise RuntimeError("this client is closed")
        if direct not in self._clients:
            self._clients[direct] = httpx2.AsyncClient(**_settings(direct))
        return self._clients[direct]


def on_loopback(url: str) -> bool:
    """Whether `url` is on this machine's loopback, which a proxy that the environment names cannot reach."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Reading:
    """The body of a reply while it comes: bounded in time, which httpx2 bounds for each piece alone, and in bytes."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._deadline = time.monotonic() + request.timeout
        self._body = bytearray()

    def is_full_with(self, chunk: bytes) -> bool:
        """Add `chunk`; whether there are now more bytes than are wanted."""
        if time.monotonic() > self._deadline:
            raise _timed_out(self._request)
        self._body += chunk
        return self._request.most_bytes is not None and len(self._body) > self._request.most_bytes

    def reply(self, response: httpx2.Response) -> Reply:
        """The reply with what was read."""
        most = self._request.most_bytes
        body = bytes(self._body if most is None else self._body[: most + 1])
        return Reply(response.status_code, response.reason_phrase, dict(response.headers), body)


@cache
def _tls() -> ssl.SSLContext:
    """Made once: it takes 50 ms."""
    return httpx2.create_ssl_context()


def _settings(direct: bool) -> dict[str, Any]:
    """Of both of httpx2's clients. The number of requests at once is bounded elsewhere."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=32)
    return {"trust_env": not direct, "verify": _tls(), "limits": limits, "max_redirects": _REDIRECTS}


def _arguments(request: Request) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.url,
        "headers": dict(request.headers),
        "content": request.body,
        "timeout": httpx2.Timeout(request.timeout, connect=min(request.timeout, _CONNECT_SECONDS), pool=None),
        "follow_redirects": request.follow_redirects,
    }


@contextmanager
def _errors(request: Request) -> Iterator[None]:
    """Turn the errors of httpx2 into the client's."""
    try:
        yield
    except httpx2.TimeoutException as error:
        raise _timed_out(request) from error
    except httpx2.DecodingError as error:
        raise BadAnswer(f"the answer of {_shown(request)} cannot be unpacked: {error}") from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, UnicodeError) as error:
        raise BadInput(f"a request to {_shown(request)} cannot be sent: {error}") from error
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"no answer from {_shown(request)}: {reason}") from error


def _timed_out(request: Request) -> TimedOut:
    return TimedOut(f"no whole answer from {_shown(request)} within {request.timeout:g} s")


def _shown(request: Request) -> str:
    """The address without a name and password that may stand in it."""
    try:
        parts = urlsplit(request.url)
    except ValueError:
        return repr(request.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
