"""A TorchServe on this machine: start it, wait until it is ready, stop it without leaving anything behind."""

from server.local import Addresses, LocalServer, ServerError

__all__ = ["Addresses", "LocalServer", "ServerError"]
