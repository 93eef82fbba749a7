"""The app: what Label Studio asks of an ML backend, and the answers."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lseg_serve.annotation.label_studio.addresses import Addresses, Resolve, resolved
from lseg_serve.annotation.label_studio.images import Images
from lseg_serve.annotation.label_studio.messages import Predict, Setup
from lseg_serve.annotation.label_studio.predicting import Predictor, client_of
from lseg_serve.annotation.label_studio.settings import Settings, origin_of
from lseg_serve.annotation.label_studio.tokens import Tokens
from lseg_serve.annotation.label_studio.versions import Versions

_BODY_BYTES: Final = 100_000_000  # tasks come with all their annotations

logger = logging.getLogger(__name__)
Body = TypeVar("Body", bound=BaseModel)


def create_app(settings: Settings, resolve: Resolve = resolved) -> ASGIApp:
    """The backend, for any ASGI server.

    Args:
        settings: what it is set to.
        resolve: the addresses of a host; may block.

    Raises:
        BadInput: an address of the endpoint is not accepted.
        ValueError: Label Studio's address is not accepted.
    """
    return _Backend(settings, resolve).starlette


class _Backend:
    def __init__(self, settings: Settings, resolve: Resolve) -> None:
        self._credentials = settings.credentials
        self._tokens = Tokens(settings.label_studio, settings.api_key)
        self._client = client_of(settings)
        images = Images(settings, Addresses(settings, resolve), self._tokens)
        self._predictor = Predictor(settings, self._client, images, Versions(settings))
        self._alias: str | None = None  # Label Studio's address, as it knows itself
        self.starlette = Starlette(
            routes=[
                Route("/", self._health),
                Route("/health", self._health),
                Route("/setup", self._setup, methods=["POST"]),
                Route("/predict", self._predict, methods=["POST"]),
                Route("/webhook", self._webhook, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _refused, Exception: _unforeseen},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        await self._client.close()

    async def _health(self, request: Request) -> Response:
        self._check(request)
        return JSONResponse({"status": "UP", "model_class": "LSeg"})

    async def _setup(self, request: Request) -> Response:
        """The version, or why the project cannot be served: any other status would show the reason to nobody."""
        body = await self._read(request, Setup)
        if body.access_token:
            self._tokens.learn(body.project, body.access_token)
        self._alias = _address(body.hostname) or self._alias
        return JSONResponse({"model_version": await self._predictor.version(body.schema_)})

    async def _predict(self, request: Request) -> Response:
        body = await self._read(request, Predict)
        return JSONResponse({"results": await self._predictor.predict(body, self._alias)})

    async def _webhook(self, request: Request) -> Response:
        """Nothing is learned from what people label, so it is received and left."""
        self._check(request)
        return JSONResponse({}, 201)

    def _check(self, request: Request) -> None:
        """Refuse who does not know the password, and a web page: it cannot send JSON to another origin unasked."""
        if self._credentials is not None and not _knows(request, self._credentials):
            raise HTTPException(401, "name and password are wrong or missing", {"WWW-Authenticate": "Basic"})
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and kind != "application/json":
            raise HTTPException(415, f"the body is of type {kind[:40]!r}; accepted: application/json")

    async def _read(self, request: Request, kind: type[Body]) -> Body:
        self._check(request)
        content = bytearray()
        async for piece in request.stream():
            content += piece
            if len(content) > _BODY_BYTES:
                raise HTTPException(413, f"the body is too large; accepted: up to {_BODY_BYTES} bytes")
        try:
            return kind.model_validate_json(bytes(content))
        except ValidationError as error:
            places = sorted({".".join(map(str, one["loc"])) or "body" for one in error.errors(include_input=False)})
            raise HTTPException(400, f"the body is not understood at {', '.join(places)[:200]}") from None


def _address(hostname: str) -> str | None:
    try:
        scheme, host, port = origin_of(hostname)
    except ValueError:
        return None
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _knows(request: Request, credentials: tuple[str, str]) -> bool:
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(sent, validate=True)
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, ":".join(credentials).encode())


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    error: dict[str, Any] = {"code": status, "message": message}
    return Response(json.dumps({"error": error}), status, headers, "application/json")


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, str(error.detail), dict(error.headers or {}))


def _unforeseen(request: Request, error: Exception) -> Response:
    # Without the body, which may hold a token.
    logger.error("unforeseen, on %s %s", request.method, request.url.path, exc_info=error)
    return _error(500, "unforeseen; the backend's log has the cause")
