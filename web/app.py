"""The app: its routes, and what each answers. docs/openapi.json describes them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

import anyio
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from lseg_serve.web.answers import Health, Model, Models
from lseg_serve.web.description import MODEL_NAME
from lseg_serve.web.errors import AppError
from lseg_serve.web.gallery import gallery, picture_file, thumbnail
from lseg_serve.web.guard import Guard, error_response
from lseg_serve.web.settings import Settings
from lseg_serve.web.upstream import Upstream

_OPENAPI: Final = Path(__file__).parent / "openapi.json"
_FRESH: Final = {"Cache-Control": "no-cache"}  # kept, but asked about each time
_NEVER: Final = {"Cache-Control": "no-store"}
_DAY: Final = {"Cache-Control": "max-age=86400"}
_FOREVER: Final = {"Cache-Control": "max-age=31536000, immutable"}
_HTTP_TYPES: Final = {404: "not_found", 405: "method_not_allowed"}

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> ASGIApp:
    """The app with its guard around it, for any ASGI server."""
    return Guard(_App(settings).starlette, settings.hosts)


class _App:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._upstreams = {one.name: Upstream(one, settings) for one in settings.endpoints}
        # Of a single server its name says nothing, and it stays out of the models' ids.
        self._prefixed = len(settings.endpoints) > 1
        self._files = StaticFiles(directory=settings.static, check_dir=False)
        self.starlette = Starlette(
            routes=[
                Route("/", self._index),
                Route("/healthz", self._health),
                Route("/openapi.json", self._openapi),
                Route("/api/models", self._models),
                Route("/api/models/{model}/segment", self._segment, methods=["POST"]),
                Route("/api/models/{server}/{model}/segment", self._segment, methods=["POST"]),
                Route("/api/gallery", self._gallery),
                Route("/gallery/{file}", self._picture),
                Route("/assets/{file}", self._asset),
                Route("/{file}", self._page_file),
            ],
            exception_handlers={
                AppError: _refused,
                HTTPException: _refused_by_starlette,
                ClientDisconnect: _nobody_listens,
                Exception: _unforeseen,
            },
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        for upstream in self._upstreams.values():
            await upstream.close()

    async def _index(self, request: Request) -> Response:
        return await self._static("index.html", _FRESH, request)

    async def _page_file(self, request: Request) -> Response:
        return await self._static(request.path_params["file"], _FRESH, request)

    async def _asset(self, request: Request) -> Response:
        # The names in `assets` change with their contents, so browsers may keep them for good.
        return await self._static(f"assets/{request.path_params['file']}", _FOREVER, request)

    async def _static(self, path: str, caching: Mapping[str, str], request: Request) -> Response:
        """A file of the page; 304 where the browser has it."""
        response = await self._files.get_response(path, request.scope)
        response.headers.update(caching)
        return response

    async def _health(self, request: Request) -> Response:
        return _json(Health())

    async def _openapi(self, request: Request) -> Response:
        return _file(_OPENAPI, _FRESH, "application/json")

    async def _models(self, request: Request) -> Response:
        found: dict[str, list[Model]] = {}

        async def ask(name: str, upstream: Upstream) -> None:
            found[name] = await upstream.describer.models(prefixed=self._prefixed)

        async with anyio.create_task_group() as tasks:
            for name, upstream in self._upstreams.items():
                tasks.start_soon(ask, name, upstream)
        return _json(Models(models=[model for name in self._upstreams for model in found[name]]))

    async def _segment(self, request: Request) -> Response:
        server, model = request.path_params.get("server"), request.path_params["model"]
        names = list(self._upstreams)
        upstream = self._upstreams.get(names[0] if server is None else server)
        if upstream is None or not MODEL_NAME.fullmatch(model):
            raise AppError(404, "unknown_model", f"there is no such model; servers: {', '.join(names)}")
        return await upstream.segment(request, model)

    async def _gallery(self, request: Request) -> Response:
        return _json(await run_in_threadpool(gallery, self._settings.pictures))

    async def _picture(self, request: Request) -> Response:
        name = str(request.path_params["file"])
        path = picture_file(self._settings.pictures, name.replace(".small.jpg", ".jpg"))
        if path is None:
            raise AppError(404, "not_found", "there is no such picture; /api/gallery names them all")
        if name.endswith(".small.jpg"):
            return Response(await run_in_threadpool(thumbnail, path), 200, _DAY, "image/jpeg")
        return _file(path, _DAY)


def _file(path: Path, headers: Mapping[str, str], media_type: str | None = None) -> Response:
    if not path.is_file():
        raise AppError(404, "not_found", f"the file {path.name} is not installed")
    return FileResponse(path, headers=headers, media_type=media_type)


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), 200, _NEVER, "application/json")


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    return error_response(error)


def _refused_by_starlette(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    type_ = _HTTP_TYPES.get(status, "invalid_request" if status < 500 else "internal_error")
    response = error_response(
        AppError(status, type_, f"{HTTPStatus(status).phrase}: {request.method} {request.url.path}")
    )
    response.headers.update(error.headers or {})
    return response


def _nobody_listens(request: Request, error: Exception) -> Response:
    return error_response(AppError(400, "invalid_request", "the request broke off"))


def _unforeseen(request: Request, error: Exception) -> Response:
    logger.error("unforeseen, on %s %s", request.method, request.url.path, exc_info=error)
    return error_response(AppError(500, "internal_error", "unforeseen; the app's log has the cause"))
