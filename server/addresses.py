"""Where a server listens: what its options, the environment and config.properties say, in this order."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace

from lseg_serve.server.errors import ServerError
from lseg_serve.server.settings import Settings, variable_of

_URL = re.compile(r"(https?)://([^:/^]+)(?::([0-9]+))?", re.IGNORECASE)  # what TorchServe accepts, but for unix:
LARGEST_PORT = 65534  # TorchServe refuses 65535
_EVERYWHERE = "0.0.0.0"
_LOOPBACK = "127.0.0.1"
_PORTS = {"inference": 8080, "management": 8081, "metrics": 8082, "grpc_inference": 7070, "grpc_management": 7071}
# TorchServe's, where an address names none. They differ from the ports where no address is given at all.
_HTTP_PORTS = {"inference": 80, "management": 8081, "metrics": 8082}
_HTTPS_PORTS = {"inference": 443, "management": 8444, "metrics": 8445}


@dataclass(frozen=True)
class Address:
    """A host, a port, and `http` or `https` for what speaks HTTP."""

    port: int
    host: str = _LOOPBACK
    scheme: str = "http"

    @property
    def url(self) -> str:
        """The address as TorchServe binds it."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def reachable_host(self) -> str:
        """The host by which this machine reaches it."""
        return _LOOPBACK if self.host == _EVERYWHERE else self.host

    @property
    def reachable_url(self) -> str:
        """The URL by which this machine reaches it."""
        return replace(self, host=self.reachable_host).url

    def is_taken(self) -> bool:
        """Whether something listens there now."""
        try:
            with socket.create_connection((self.reachable_host, self.port), timeout=5):
                return True
        except OSError:
            return False


@dataclass(frozen=True)
class Addresses:
    """The five addresses of one server. The defaults are those of config/config.properties."""

    inference: Address = Address(_PORTS["inference"])
    management: Address = Address(_PORTS["management"])
    metrics: Address = Address(_PORTS["metrics"])
    grpc_inference: Address = Address(_PORTS["grpc_inference"])
    grpc_management: Address = Address(_PORTS["grpc_management"])

    @classmethod
    def on_loopback(cls, *ports: int) -> Addresses:
        """Five ports of loopback, in the order of the fields."""
        return cls(*(Address(port) for port in ports))

    @classmethod
    def free(cls) -> Addresses:
        """Five ports of loopback that nothing listens on."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(5)]
            for one in sockets:
                one.bind((_LOOPBACK, 0))
            return cls.on_loopback(*(one.getsockname()[1] for one in sockets))

    @classmethod
    def configured(cls, settings: Settings) -> Addresses:
        """The addresses that TorchServe takes with these settings.

        Raises:
            ServerError: an address is none that this program can ask.
        """
        spoken = {name: _http(settings, name) for name in _HTTP_PORTS}
        return cls(**spoken, **{name: _grpc(settings, name) for name in _PORTS if name not in spoken})

    def with_ports(self, ports: Mapping[str, int | None]) -> Addresses:
        """The same with other ports; None leaves one as it is."""
        others = {name: replace(getattr(self, name), port=port) for name, port in ports.items() if port is not None}
        return replace(self, **others)

    def named(self) -> dict[str, Address]:
        """Each address by the name of its field."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def inference_url(self) -> str:
        """The base address for predictions."""
        return self.inference.reachable_url

    @property
    def management_url(self) -> str:
        """The base address of the management API, which describes and scales models."""
        return self.management.reachable_url

    def environment(self) -> dict[str, str]:
        """The addresses as environment variables, which TorchServe prefers to its configuration file."""
        variables: dict[str, str] = {}
        for name, address in self.named().items():
            spoken = name in _HTTP_PORTS
            variables[variable_of(f"{name}_address")] = address.url if spoken else address.host
            if not spoken:
                variables[variable_of(f"{name}_port")] = str(address.port)
        return variables

    def check_free(self) -> None:
        """Refuse addresses in use: this server could not start, and requests would go to whoever listens there.

        Raises:
            ServerError: something listens on one.
        """
        busy = {name: address for name, address in self.named().items() if address.is_taken()}
        if busy:
            taken = [
                f"on {address.reachable_host}:{address.port} already ({name.replace('_', ' ')} port)"
                for name, address in busy.items()
            ]
            options = " ".join(f"{port_option(name)} PORT" for name in busy)
            raise ServerError(
                f"something listens {', '.join(taken)}; "
                f"stop it, or choose other ports: python -m server start {options}"
            )


def port_option(name: str) -> str:
    """The option of `python -m server start` that sets the port `name` of `Addresses`."""
    return f"--{name.replace('_', '-')}-port"


def _http(settings: Settings, name: str) -> Address:
    key = f"{name}_address"
    text = settings.get(key, f"http://{_LOOPBACK}:{_PORTS[name]}")
    match = _URL.fullmatch(text)
    # Over HTTPS the management port could be asked only with its certificate at hand.
    accepted = "http://HOST:PORT" if name == "management" else "http://HOST:PORT or https://HOST:PORT"
    if match is None or (name == "management" and match[1].lower() == "https"):
        raise ServerError(f"{settings.source(key)} is {text!r}; accepted by `python -m server`: {accepted}")
    scheme = match[1].lower()
    ports = _HTTPS_PORTS if scheme == "https" else _HTTP_PORTS
    return Address(_port(settings, key, match[3] or str(ports[name])), match[2], scheme)


def _grpc(settings: Settings, name: str) -> Address:
    key = f"{name}_port"
    return Address(
        _port(settings, key, settings.get(key, str(_PORTS[name]))), settings.get(f"{name}_address", _LOOPBACK)
    )


def _port(settings: Settings, key: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST_PORT:
        raise ServerError(f"the port of {settings.source(key)} is {text!r}; accepted: 1 to {LARGEST_PORT}")
    return int(text)
