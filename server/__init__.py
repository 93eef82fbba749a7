"""A TorchServe on this machine: start it, wait until it is ready, and stop it with everything it started."""

from lseg_serve.server.addresses import Address, Addresses
from lseg_serve.server.errors import ServerError
from lseg_serve.server.local import LocalServer

__all__ = ["Address", "Addresses", "LocalServer", "ServerError"]
