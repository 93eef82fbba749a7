"""The app that serves the page, and passes its requests on to TorchServe: one origin for all that a browser asks.

The app needs the extra `web`. This module and the command's options do not, so that both can say what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lseg_serve.web.settings import Endpoint, Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["Endpoint", "Settings", "create_app"]


def create_app(settings: Settings) -> ASGIApp:
    """The app for these settings, for any ASGI server.

    Raises:
        ModuleNotFoundError: the extra `web` is not installed.
    """
    from lseg_serve.web.app import create_app as create

    return create(settings)
