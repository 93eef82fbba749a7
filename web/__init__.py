"""The app that serves the page, and passes its requests on to TorchServe: one origin for all that a browser asks."""

from lseg_serve.web.app import create_app
from lseg_serve.web.settings import Endpoint, Settings

__all__ = ["Endpoint", "Settings", "create_app"]
