"""The front as it ships, before a real server: nginx, its checker, a certificate and keys, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from lseg_serve.front.keys import add_key
from lseg_serve.front.render import FrontSettings, render
from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.support.waiting import eventually

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/sbin")
NOT_POSSIBLE = next(
    (
        f"no {name} on this machine"
        for name, path in (("nginx", NGINX), ("openssl", shutil.which("openssl")))
        if not path
    ),
    None,
)


@dataclass
class Front:
    """A front that runs."""

    port: int
    folder: Path
    key: str
    certificate: Path
    keys: Path
    checker: subprocess.Popen[bytes]
    context: ssl.SSLContext = field(repr=False)
    scheme: str = "https"

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


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def fronting(folder: Path, server: LocalServer, **settings: str) -> Iterator[Front]:
    """A front before `server` with these settings, and otherwise those that it ships with, TLS among them."""
    assert NGINX is not None
    folder.mkdir(parents=True, exist_ok=True)
    certificate, private = _certificate(folder)
    keys, port, check_port = folder / "keys", free_port(), free_port()
    key = add_key(keys, "tests")
    with_tls = settings.get("tls") != "off"
    of_this_place = {
        **({"certificate": str(certificate), "certificate_key": str(private)} if with_tls else {}),
        "folder": str(folder),
        "listen": f"127.0.0.1:{port}",
        "server": f"127.0.0.1:{server.addresses.inference.port}",
        "checker": f"127.0.0.1:{check_port}",
        "access_log": str(folder / "access.log"),
        "error_log": str(folder / "error.log"),
        "user": pwd.getpwuid(os.getuid()).pw_name,
    }
    config = folder / "nginx.conf"
    config.write_text(render(FrontSettings(**{**of_this_place, **settings})))
    command = [sys.executable, "-m", "front", "check", "--keys", str(keys), "--port", str(check_port)]
    command += ["--management-url", server.addresses.management_url]
    checker = subprocess.Popen(command, cwd=PROJECT)
    nginx = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(config), "-g", "daemon off;"])
    context, scheme = ssl.create_default_context(cafile=str(certificate)), "https" if with_tls else "http"
    front = Front(port, folder, key, certificate, keys, checker, context, scheme)
    try:
        assert eventually(lambda: _answers(port) and _answers(check_port), 30), "the front does not start"
        yield front
    finally:
        for process in (nginx, checker):
            process.terminate()
            process.wait(30)


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(private), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, private


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class From(requests.adapters.HTTPAdapter):
    """Connects from one of the addresses of loopback, as a client of its own."""

    def __init__(self, source: str) -> None:
        self._source = source
        super().__init__()

    def init_poolmanager(self, *arguments: object, **options: object) -> None:
        super().init_poolmanager(*arguments, source_address=(self._source, 0), **options)  # type: ignore[arg-type]
