"""A front on this machine, for tests and measurements: nginx, its checker, a key, and a certificate of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lseg_serve.front.keys import add_key
from lseg_serve.front.render import FrontSettings, render

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/sbin")
_PROJECT: Final = Path(__file__).resolve().parent.parent
_START_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.1


@dataclass
class LocalFront:
    """A front that runs: its port on loopback, what it writes, and what a client needs."""

    port: int
    folder: Path
    key: str
    certificate: Path
    keys: Path
    checker: subprocess.Popen[bytes]
    scheme: str


def missing_program() -> str | None:
    """What this machine lacks for a front, in words; None where it has all."""
    needed = {"nginx": NGINX, "openssl": shutil.which("openssl")}
    return next((f"no {name} on this machine" for name, path in needed.items() if not path), None)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def started(folder: Path, server: str, management_url: str, **settings: str) -> Iterator[LocalFront]:
    """A front before the TorchServe whose inference address is `server` (HOST:PORT), ended with the context.

    Args:
        folder: for all that it writes; made where it does not exist.
        server: TorchServe's inference address.
        management_url: TorchServe's management address, for the checker.
        settings: fields of FrontSettings; the others are those that it ships with.

    Raises:
        FileNotFoundError: there is no nginx, or no openssl.
        ChildProcessError: nginx or the checker ends before it listens; what it said is on stderr.
        TimeoutError: they do not listen within 30 s.
        SettingError: a setting is not accepted.
    """
    missing = missing_program()
    if missing is not None or NGINX is None:
        raise FileNotFoundError(missing)
    folder.mkdir(parents=True, exist_ok=True)
    certificate, private = _certificate(folder)
    keys, port, check_port = folder / "keys", free_port(), free_port()
    key = add_key(keys, "tests")
    with_tls = settings.get("tls") != "off"
    of_this_place = {
        **({"certificate": str(certificate), "certificate_key": str(private)} if with_tls else {}),
        "folder": str(folder),
        "listen": f"127.0.0.1:{port}",
        "server": server,
        "checker": f"127.0.0.1:{check_port}",
        "access_log": str(folder / "access.log"),
        "error_log": str(folder / "error.log"),
        "user": pwd.getpwuid(os.getuid()).pw_name,
    }
    config = folder / "nginx.conf"
    config.write_text(render(FrontSettings(**{**of_this_place, **settings})))
    command = [sys.executable, "-m", "front", "check", "--keys", str(keys), "--port", str(check_port)]
    command += ["--management-url", management_url]
    checker = subprocess.Popen(command, cwd=_PROJECT)
    nginx = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(config), "-g", "daemon off;"])
    try:
        _wait_for({port: nginx, check_port: checker})
        yield LocalFront(port, folder, key, certificate, keys, checker, "https" if with_tls else "http")
    finally:
        for process in (nginx, checker):
            process.terminate()
            process.wait(_START_SECONDS)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost that is good for two days, and its key."""
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(private), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, private


def _wait_for(listeners: Mapping[int, subprocess.Popen[bytes]]) -> None:
    """Until each of the programs listens on its port."""
    deadline = time.monotonic() + _START_SECONDS
    while not all(_answers(port) for port in listeners):
        for process in listeners.values():
            if process.poll() is not None:
                raise ChildProcessError(f"{process.args!r} has ended with {process.returncode} before it listened")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the front did not start within {_START_SECONDS} s")
        time.sleep(_POLL_SECONDS)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
