"""What the subcommands share that serve an app of their own: its socket, its options, uvicorn."""

from __future__ import annotations

import argparse
import socket
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lseg_serve.cli.manners import CommandError, Status

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EXTRA = ("starlette", "uvicorn")


def require_extra(refused: str) -> None:
    """See that the extra `web` is installed; `refused` begins the message if it is not.

    Raises:
        CommandError: it is not.
    """
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise CommandError(
            Status.FAULT, f"{refused}: without {missing[0]}; install the extra: pip install 'lseg-serve[web]'"
        )


def listener(host: str, port: int, refused: str) -> socket.socket:
    """A socket that listens there; `refused` begins the message if it cannot.

    Raises:
        CommandError: the address is taken, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
        one.listen(128)
    except OSError as error:
        one.close()
        raise CommandError(
            Status.REFUSED,
            f"{refused}: {host}:{port} cannot be listened on ({error.strerror}); choose another --host or --port",
        ) from error
    return one


def url_of(one: socket.socket, host: str) -> str:
    """The address at which a socket is reached that listens on `host`."""
    return f"http://{f'[{host}]' if ':' in host else host}:{one.getsockname()[1]}"


def serve_app(app: ASGIApp, one: socket.socket) -> None:
    """Serve `app` until interrupted, which is the end that is meant."""
    import uvicorn  # of the extra

    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    with suppress(KeyboardInterrupt):  # raised again by uvicorn, once it has ended by itself
        uvicorn.Server(config).run(sockets=[one])


def port_number(text: str) -> int:
    """A port, from the command line; 0 is any that is free."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; accepted: 0 to 65535")
    return int(text)
