"""A TorchServe on this machine: start it, wait until it is ready, stop it without leaving anything behind."""

from lseg_serve.server.local import Addresses, LocalServer, ServerError

__all__ = ["Addresses", "LocalServer", "ServerError"]
