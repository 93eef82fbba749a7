"""What holds for every answer: headers that bind the browser, and which requests are let in at all."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lseg_serve.web.errors import AppError

_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "worker-src 'self' blob:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "object-src 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
}


class Guard:
    """Around the whole app, errors included."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(Headers(scope=scope), str(scope["method"]))
        if refusal is None:
            await self._app(scope, receive, guarded)
        else:
            await error_response(refusal)(scope, receive, guarded)

    def _refusal(self, headers: Headers, method: str) -> AppError | None:
        host = headers.get("host", "")
        name = _host_name(host)
        if self._hosts is not None and name not in self._hosts:
            accepted = ", ".join(sorted(self._hosts))
            return AppError(421, "foreign_host", f"this app is not {host[:100]!r}; accepted: {accepted}")
        origin = headers.get("origin")
        if method not in ("GET", "HEAD") and origin is not None and urlsplit(origin).netloc != host:
            return AppError(403, "foreign_origin", f"a page of {origin[:100]!r} may not ask this app")
        return None


def error_response(error: AppError) -> Response:
    """The answer to a request that failed."""
    headers = {"Cache-Control": "no-store", **error.headers}
    return Response(error.body(), error.status, headers, "application/json")


def _host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets, in small letters; None where it is no name."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
