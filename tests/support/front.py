"""The front as it ships, before a real server: nginx, its checker, a certificate and keys, in a folder of its own."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from lseg_serve.front.local import LocalFront, missing_program, started
from lseg_serve.server import LocalServer

NOT_POSSIBLE = missing_program()


@dataclass
class Front(LocalFront):
    """A front that runs, and ways to reach it."""

    context: ssl.SSLContext = field(repr=False)

    @classmethod
    def of(cls, front: LocalFront) -> Front:
        """`front`, for a client that trusts its certificate."""
        return cls(**vars(front), context=ssl.create_default_context(cafile=str(front.certificate)))

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What nginx has written down of requests."""
        return (self.folder / "access.log").read_text()

    def ask(
        self, method: str, path: str, key: str | None = "", source: str = "127.0.0.1", **options: object
    ) -> requests.Response:
        """One request: with the front's key, with another one or (None) without, from an address of loopback."""
        headers = dict(options.pop("headers", None) or {})  # type: ignore[call-overload]
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key or self.key}")
        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", From(source))
            return session.request(
                method,
                self.url + path,
                headers=headers,
                verify=str(self.certificate),
                timeout=120,
                **options,  # type: ignore[arg-type]
            )

    def connect(self, source: str = "127.0.0.1", seconds: float = 60) -> ssl.SSLSocket:
        """A connection on which nothing has been sent yet."""
        plain = socket.create_connection(("127.0.0.1", self.port), seconds, (source, 0))
        return self.context.wrap_socket(plain, server_hostname="localhost")

    def exchange(self, sent: bytes, seconds: float = 60, source: str = "127.0.0.1") -> bytes:
        """All that comes back on a connection of its own, until the front closes it."""
        with self.connect(source, seconds) as connection:
            connection.sendall(sent)
            return received(connection)


def received(connection: socket.socket) -> bytes:
    """What comes until the other side closes the connection, or resets it."""
    parts = []
    with suppress(ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@contextmanager
def fronting(folder: Path, server: LocalServer, **settings: str) -> Iterator[Front]:
    """A front before `server` with these settings, and otherwise those that it ships with."""
    inference = f"127.0.0.1:{server.addresses.inference.port}"
    with started(folder, inference, server.addresses.management_url, **settings) as front:
        yield Front.of(front)


class From(requests.adapters.HTTPAdapter):
    """Connects from one of the addresses of loopback, as a client of its own."""

    def __init__(self, source: str) -> None:
        self._source = source
        super().__init__()

    def init_poolmanager(self, *arguments: object, **options: object) -> None:
        super().init_poolmanager(*arguments, source_address=(self._source, 0), **options)  # type: ignore[arg-type]
