"""An ML backend for Label Studio: it labels the images of its tasks by the words of its labelling configurations.

It needs the extra `web`. This module and the settings do not, so that the command can say what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lseg_serve.annotation.label_studio.settings import Settings, origin_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["Settings", "create_app", "origin_of"]


def create_app(settings: Settings) -> ASGIApp:
    """The backend for these settings, for any ASGI server.

    Raises:
        ModuleNotFoundError: the extra `web` is not installed.
        BadInput: an address of the endpoint is not accepted.
        ValueError: Label Studio's address is not accepted.
    """
    from lseg_serve.annotation.label_studio.app import create_app as create

    return create(settings)
