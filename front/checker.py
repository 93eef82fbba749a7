"""The app that nginx asks: whose key this is, what a model is, whether it is ready. It listens on loopback alone.

The shapes of the answers are those of the protocols v1 and v2 (Open Inference Protocol) over REST.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lseg_serve.front.keys import KeyFile
from lseg_serve.front.models import Models

_PLATFORM: Final = "pytorch_torchserve"
_EXTENSIONS: Final = ("binary_tensor_data",)
# A request has one image or several; -1 is any number.
_INPUTS: Final = (
    {"name": "image", "datatype": "BYTES", "shape": [-1]},
    {"name": "labels", "datatype": "BYTES", "shape": [-1]},
)
_OUTPUTS: Final = (
    {"name": "mask", "datatype": "UINT8", "shape": [-1, -1]},
    {"name": "labels", "datatype": "BYTES", "shape": [-1]},
)


def create_checker(keys: KeyFile, models: Models, version: str) -> Starlette:
    """The app for these keys and models, for any ASGI server. `version` is that of this project."""

    async def check(request: Request) -> Response:
        """204 and the client's name, or 401: the two answers that nginx's auth_request understands, but for 403."""
        client = keys.keys().client(request.headers.get("x-api-key", ""))
        return Response(status_code=401) if client is None else Response(status_code=204, headers=_named(client))

    async def alive(request: Request) -> Response:
        return _json({"status": "alive"})

    async def live(request: Request) -> Response:
        return _json({"live": True})

    async def ready(request: Request) -> Response:
        is_ready = await models.ready()
        return _json({"ready": is_ready}, 200 if is_ready else 503)

    async def server(request: Request) -> Response:
        return _json({"name": "lseg-serve", "version": version, "extensions": list(_EXTENSIONS)})

    async def listed(request: Request) -> Response:
        return _json({"models": list(models.names)})

    async def model_ready(request: Request) -> Response:
        name, versions = await _versions(request)
        return _json({"name": name, "ready": bool(versions)}, 200 if versions else 503)

    async def model(request: Request) -> Response:
        name, versions = await _versions(request)
        if not versions:
            return _error(503, f"the model {name} is loading")
        described = {"name": name, "versions": list(versions), "platform": _PLATFORM}
        return _json({**described, "inputs": list(_INPUTS), "outputs": list(_OUTPUTS)})

    async def _versions(request: Request) -> tuple[str, tuple[str, ...]]:
        """Name and ready versions of the model in the address: of the one that it names, or of all.

        Raises:
            HTTPException: there is no such model or version.
        """
        name, wanted = request.path_params["model"], request.path_params.get("version")
        versions = await models.versions(name)
        if versions is None:
            raise HTTPException(404, f"there is no model {name}")
        if wanted is not None and versions and wanted not in versions:
            raise HTTPException(404, f"the model {name} has no version {wanted}; accepted: {', '.join(versions)}")
        return name, versions if wanted is None else tuple(one for one in versions if one == wanted)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await models.close()

    return Starlette(
        routes=[
            Route("/check", check),
            Route("/", alive),
            Route("/ping", ready),
            Route("/v1/models", listed),
            Route("/v1/models/{model}", model_ready),
            Route("/v2", server),
            Route("/v2/health/live", live),
            Route("/v2/health/ready", ready),
            Route("/v2/models/{model}", model),
            Route("/v2/models/{model}/ready", model_ready),
            Route("/v2/models/{model}/versions/{version}", model),
            Route("/v2/models/{model}/versions/{version}/ready", model_ready),
        ],
        exception_handlers={HTTPException: _refused},
        lifespan=lifespan,
    )


def _named(client: str) -> dict[str, str]:
    return {"X-LSeg-Client": client}


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(content, status, {"Cache-Control": "no-store"})


def _error(status: int, message: str) -> Response:
    return _json({"error": message}, status)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail)
