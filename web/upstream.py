"""Requests that the app passes on to one TorchServe, and the answers that it passes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

import anyio
import httpx2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from lseg_serve.web.description import Describer
from lseg_serve.web.errors import AppError, endpoint_error, too_large
from lseg_serve.web.settings import Endpoint, Settings

# What passes, in either direction. All else stays: cookies, credentials, addresses of clients, TorchServe's own.
_TO_ENDPOINT: Final = ("content-type", "content-encoding", "content-length", "accept")
_TO_BROWSER: Final = ("content-type", "content-length", "server-timing", "retry-after")
_OWN: Final = "x-lseg-"
_ERROR_BYTES: Final = 65_536
_DRAIN_SECONDS: Final = 10


class Upstream:
    """One TorchServe. Holds a pool of connections, to be closed by `close`."""

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self.endpoint = endpoint
        self._settings = settings
        # Proxies for the internet do not reach the endpoints of one's own network.
        self._client = httpx2.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(settings.timeout_seconds, connect=5, pool=10),
            limits=httpx2.Limits(max_connections=settings.connections, max_keepalive_connections=8),
        )
        self.describer = Describer(endpoint, self._client, settings.max_request_bytes)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def segment(self, request: Request, model: str) -> Response:
        """Pass a request for a mask on, as it comes in; the answer goes back as it comes in.

        Raises:
            AppError: it is too large, the endpoint cannot be reached or takes too long, or its answer is an error.
        """
        accepted = self._settings.max_request_bytes
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > accepted:
            await _drain(request, accepted)
            raise too_large(accepted)
        url = f"{self.endpoint.inference}/predictions/{model}"
        asked = self._client.build_request(
            "POST", url, headers=_passing(request.headers, _TO_ENDPOINT), content=_limited(request, accepted)
        )
        try:
            with anyio.fail_after(self._settings.timeout_seconds):
                answer = await self._client.send(asked, stream=True)
                if answer.status_code >= 400:
                    raise await self._error(answer, model)
                if answer.status_code != 200:
                    await answer.aclose()
                    raise AppError(502, "bad_answer", f"the server answers {answer.status_code}, which is no mask")
        except (httpx2.TransportError, TimeoutError) as error:
            raise self._failure(error) from error
        return await self._passed_back(answer)

    async def _error(self, answer: httpx2.Response, model: str) -> AppError:
        body = b""
        try:
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _ERROR_BYTES:
                    break
        finally:
            await answer.aclose()
        # TorchServe says of a full queue that there is no worker.
        state = await self.describer.state(model) if answer.status_code == 503 else None
        return endpoint_error(answer.status_code, body, model, state)

    async def _passed_back(self, answer: httpx2.Response) -> Response:
        accepted = self._settings.max_answer_bytes
        length = answer.headers.get("content-length", "")
        if length.isdecimal() and int(length) > accepted:
            await answer.aclose()
            raise AppError(502, "bad_answer", f"the answer has {length} bytes; accepted: up to {accepted}", "format")
        headers = _passing(answer.headers, _TO_BROWSER) | {"Cache-Control": "no-store"}
        return StreamingResponse(_limited_answer(answer, accepted), 200, headers)

    def _failure(self, error: Exception) -> AppError:
        where = f"the server {self.endpoint.name}"
        if isinstance(error, httpx2.PoolTimeout):
            return AppError(503, "overloaded", f"too many requests wait for {where}; send this one again later")
        if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
            return AppError(502, "server_unreachable", f"{where} does not answer at {self.endpoint.inference}")
        if isinstance(error, httpx2.TimeoutException | TimeoutError):
            seconds = self._settings.timeout_seconds
            return AppError(504, "timed_out", f"{where} gave no answer within {seconds:g} s")
        return AppError(502, "server_unreachable", f"{where} broke the connection off")


def _passing(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Those of `headers` that pass: `names`, and the project's own."""
    allowed = set(names)
    return {name: value for name, value in headers.items() if name in allowed or name.startswith(_OWN)}


async def _limited(request: Request, accepted: int) -> AsyncIterator[bytes]:
    """The body of a request, which may come without its length."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > accepted:
            raise too_large(accepted)
        yield chunk


async def _limited_answer(answer: httpx2.Response, accepted: int) -> AsyncIterator[bytes]:
    """The body of an answer. One that is too large without having said so is broken off: its status has gone out."""
    size = 0
    try:
        async for chunk in answer.aiter_raw():
            size += len(chunk)
            if size > accepted:
                raise httpx2.ReadError(f"the answer has more than {accepted} bytes")
            yield chunk
    finally:
        await answer.aclose()


async def _drain(request: Request, accepted: int) -> None:
    """Read what a browser still sends, within limits: it shows an answer only if its upload was not cut off."""
    size = 0
    with anyio.move_on_after(_DRAIN_SECONDS):
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > 4 * accepted:
                    return
        except ClientDisconnect:
            return
