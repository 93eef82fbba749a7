"""What goes wrong with a server."""

from __future__ import annotations


class ServerError(RuntimeError):
    """The server did not start. The message says why, and where its logs are."""


class StartFailedError(ServerError):
    """What was asked for was accepted, but TorchServe or a worker ended, or was not ready in time."""
