"""What `python -m web` does: a TorchServe where none runs yet, the page in front of it, and the end of both."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from lseg_serve.server import Addresses, LocalServer, ServerError
from lseg_serve.server.environment import HOME, PROJECT
from lseg_serve.server.settings import Settings as ServerSettings
from lseg_serve.web import create_app
from lseg_serve.web.settings import Endpoint, Settings

_MODEL = "lseg"
_DEFAULT_BYTES = 6_553_500  # TorchServe's, for both sizes
_BUNDLED = ("weights/lseg-scenes.safetensors", "model-config.yaml", "labels.txt")
_EXTRA = ("starlette", "uvicorn")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to `parser`."""
    parser.add_argument("--host", default="127.0.0.1", help="to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8090, help="0: any that is free (default: %(default)s)")
    parser.add_argument(
        "--server",
        action="append",
        type=_endpoint,
        metavar="NAME=URL[,MANAGEMENT_URL]",
        help="a TorchServe that runs already; may be given several times (default: the one of this machine, which is "
        "started if it does not run)",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further host name by which browsers reach the page; may be given several times",
    )
    parser.add_argument("--timeout", type=_seconds, default=620.0, help="seconds of a request (default: %(default)g)")
    parser.add_argument("--model-store", type=Path, default=HOME / "model_store", help="(default: %(default)s)")
    parser.add_argument("--run-folder", type=Path, default=HOME / ".run", help="of the server (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted; then end what was started. Returns the exit status.

    0: it ran and was ended. 1: the server or the page could not be started; the reason is on stderr. 130: its start was
    interrupted.
    """
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        print(
            f"page not served: without {missing[0]}; install the extra: pip install 'lseg-serve[web]'", file=sys.stderr
        )
        return 1
    _end_like_an_interrupt()
    started: LocalServer | None = None
    try:
        listener = _listener(arguments.host, arguments.port)
        if arguments.server:
            settings = Settings(tuple(arguments.server))
        else:
            local, settings = _local(arguments.run_folder)
            started = local if _start(local, arguments.model_store) else None
        _serve(listener, arguments, settings)
    except (ServerError, OSError, subprocess.CalledProcessError) as error:
        print(f"page not served: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("start interrupted", file=sys.stderr)
        return 130
    finally:
        if started is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave half of it behind
            print("stopping the server", file=sys.stderr)
            started.stop()
    return 0


def _serve(listener: socket.socket, arguments: argparse.Namespace, settings: Settings) -> None:
    import uvicorn  # of the extra

    local = arguments.host in _LOOPBACK
    hosts = frozenset({*_LOOPBACK, *arguments.allowed_host}) if local or arguments.allowed_host else None
    app = create_app(replace(settings, timeout_seconds=arguments.timeout, hosts=hosts))
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
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    # The socket listens already: a browser that is sent there now is answered.
    print(f"the page is at http://{host}:{listener.getsockname()[1]}/ (end with Ctrl-C)", flush=True)
    with suppress(KeyboardInterrupt):  # raised again by uvicorn, once it has ended by itself
        uvicorn.Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens there, taken before a server is started for nothing.

    Raises:
        OSError: the address is taken, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OSError(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another --host or --port"
        ) from error
    return listener


def _local(run_folder: Path) -> tuple[LocalServer, Settings]:
    """This machine's server, and the app's settings for it: addresses and limits are those of its configuration.

    Raises:
        ServerError: an address is not accepted.
        OSError: the configuration file cannot be read.
    """
    config = Path(os.environ.get("TS_CONFIG_FILE") or LocalServer.config)
    configured = ServerSettings.read(config, os.environ)
    server = LocalServer(run_folder, Addresses.configured(configured), config)
    endpoint = Endpoint("default", server.addresses.inference_url, server.addresses.management_url)
    request, answer = (configured.get(key, "") for key in ("max_request_size", "max_response_size"))
    return server, Settings(
        (endpoint,),
        max_request_bytes=int(request) if request.isdecimal() else _DEFAULT_BYTES,
        max_answer_bytes=int(answer) if answer.isdecimal() else _DEFAULT_BYTES,
    )


def _start(server: LocalServer, store: Path) -> bool:
    """Start the server unless it runs; return whether that was needed."""
    if server.workers(_MODEL):
        print(f"using the server at {server.addresses.inference_url}", file=sys.stderr)
        return False
    archive = store / f"{_MODEL}.mar"
    if not archive.exists():
        print("exporting the bundled model", file=sys.stderr)
        weights, config, labels = (str(PROJECT / "demo" / name) for name in _BUNDLED)
        command = [sys.executable, "-m", "lseg_serve.export", weights, "--config", config, "--labels", labels]
        subprocess.run([*command, "--output", str(store)], check=True, stdout=sys.stderr)
    print(f"starting the server (logs in {server.logs})", file=sys.stderr)
    server.serve(store, f"{_MODEL}={archive.name}")
    return True


def _endpoint(text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; accepted: 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; accepted: seconds above 0, up to 86400")
    return seconds


def _end_like_an_interrupt() -> None:
    """Let a request to end, or a closed terminal, raise KeyboardInterrupt, so that the server ends, too."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
