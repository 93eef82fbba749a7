"""What goes wrong with a server."""

from __future__ import annotations


class ServerError(RuntimeError):
    """The server did not start. The message says why, and where its logs are."""
