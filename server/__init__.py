"""A TorchServe on this machine: start it, wait until it is ready, and stop it with everything it started."""

from lseg_serve.server.local import Addresses, LocalServer, ServerError

__all__ = ["Addresses", "LocalServer", "ServerError"]
