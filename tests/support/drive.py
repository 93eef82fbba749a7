"""A server that answers as Google Drive does: the warning of large files, the quota page, ranges, breaks in the middle.

Programs reach it under Google's own names: it is their proxy, and speaks TLS with a certificate of its own, which they
trust by a variable. So what is tested has no notion of a test.
"""

from __future__ import annotations

import contextlib
import http.server
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

HOSTS = ("drive.google.com", "drive.usercontent.google.com")
WARNING = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">\
<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">\
<input type="hidden" name="confirm" value="t"></form></body></html>"""
QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please try accessing the \
file again later.</p></body></html>"""


@dataclass
class Drive:
    """What the server has, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)  # by their ids
    quota: bool = False
    breaks: list[int] = field(default_factory=list)  # bytes after which one answer after another breaks off
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # the path and the range of each download
    environment: dict[str, str] = field(default_factory=dict)  # of a program that is to reach it


def certificate(folder: Path) -> Path:
    """A new certificate for Google's names, with its key, in one file."""
    key, path = folder / "key.pem", folder / "drive.pem"
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=drive.google.com",
    ]
    command += ["-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


def is_possible() -> bool:
    """Whether a certificate can be made here."""
    return shutil.which("openssl") is not None


@contextmanager
def drive(folder: Path) -> Iterator[Drive]:
    """A running server. `folder` takes its certificate."""
    path = certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    state = Drive()

    class Handler(_Handler):
        tls = context
        drive = state

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    proxy = f"http://127.0.0.1:{server.server_address[1]}"
    state.environment = {"https_proxy": proxy, "HTTPS_PROXY": proxy, "REQUESTS_CA_BUNDLE": str(path), "no_proxy": ""}
    state.environment["NO_PROXY"] = ""
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that a stopped program has left."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tls: ssl.SSLContext
    drive: Drive

    def do_CONNECT(self) -> None:  # noqa: N802 - http.server's name
        """Become the host that is asked for."""
        assert urlsplit(f"//{self.path}").hostname in HOSTS, self.path
        self.send_response(200)
        self.end_headers()
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self) -> None:  # noqa: N802
        """The warning first, then the file."""
        parts = urlsplit(self.path)
        name = parse_qs(parts.query)["id"][0]
        if name not in self.drive.files:
            self.send_error(404)
        elif self.drive.quota:
            self._page(QUOTA)
        elif parts.path != "/download":
            self._page(WARNING.format(id=name))
        else:
            self._file(self.drive.files[name])

    def _page(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, content: bytes) -> None:
        wanted = self.headers.get("Range")
        self.drive.asked.append((self.path, wanted))
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        first = int(match[1]) if match else 0
        part = content[first:]
        self.send_response(206 if match else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Disposition", 'attachment; filename="demo_e200.ckpt"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", '"of this file"')
        if match:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.drive.breaks:
            self.wfile.write(part[: self.drive.breaks.pop(0)])
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self.wfile.write(part)

    def finish(self) -> None:
        """Close the encrypted connection, too."""
        with contextlib.suppress(OSError):
            super().finish()
        self.rfile.close()
        self.connection.close()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""
