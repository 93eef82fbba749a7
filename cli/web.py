"""`lseg web`: a TorchServe where none runs yet, the page in front of it, and the end of both."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from lseg_serve.cli.listening import LOOPBACK, listener, port_number, require_extra, serve_app, url_of
from lseg_serve.cli.manners import CommandError, Status, add_json, note, write
from lseg_serve.cli.serve import add_run_folder, configuration, not_started, run_folder_of
from lseg_serve.server import Addresses, LocalServer, ServerError
from lseg_serve.server.environment import HOME, PROJECT
from lseg_serve.web import Endpoint, Settings, create_app

_MODEL = "lseg"
_DEFAULT_BYTES = 6_553_500  # TorchServe's, for both sizes
_BUNDLED = ("weights/lseg-scenes.safetensors", "model-config.yaml", "labels.txt")
_REFUSED = "page not served"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--host", default="127.0.0.1", help="to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=8090, help="0: any that is free (default: %(default)s)")
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
    add_run_folder(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted, which is the end that is meant; then stop the server, if it was started for this."""
    require_extra(_REFUSED)
    with listener(arguments.host, arguments.port, _REFUSED) as one, _settings(arguments) as settings:
        _serve(one, arguments, settings)
    return Status.OK


@contextmanager
def _settings(arguments: argparse.Namespace) -> Iterator[Settings]:
    """The app's settings, with a server that runs; it is stopped at the end if it was started here."""
    if arguments.server:
        yield Settings(tuple(arguments.server))
        return
    started: LocalServer | None = None
    try:
        try:
            local, settings = _local(run_folder_of(arguments))
            started = local if _start(local, arguments.model_store) else None
        except (ServerError, OSError) as error:
            raise not_started(error, _REFUSED) from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt("start interrupted") from None
        yield settings
    finally:
        if started is not None:
            for number in (signal.SIGINT, signal.SIGTERM):  # a second one would leave half of it behind
                signal.signal(number, signal.SIG_IGN)
            note("stopping the server")
            started.stop()


def _serve(one: socket.socket, arguments: argparse.Namespace, settings: Settings) -> None:
    local = arguments.host in LOOPBACK
    hosts = frozenset({*LOOPBACK, *arguments.allowed_host}) if local or arguments.allowed_host else None
    app = create_app(replace(settings, timeout_seconds=arguments.timeout, hosts=hosts))
    url = url_of(one, arguments.host)
    # The socket listens already: a browser that is sent there now is answered.
    document = {"url": url, "servers": [asdict(each) for each in settings.endpoints]}
    write(arguments, document, f"the page is at {url}/ (end with Ctrl-C)")
    serve_app(app, one)


def _local(run_folder: Path) -> tuple[LocalServer, Settings]:
    """This machine's server, and the app's settings for it: addresses and limits are those of its configuration.

    Raises:
        ServerError: an address is not accepted.
        OSError: the configuration file cannot be read.
    """
    config, configured = configuration()
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
        note(f"using the server at {server.addresses.inference_url}")
        return False
    archive = store / f"{_MODEL}.mar"
    if not archive.exists():
        _export(store)
    note(f"starting the server (logs in {server.logs})")
    server.serve(store, f"{_MODEL}={archive.name}")
    return True


def _export(store: Path) -> None:
    """Export the bundled model, in a process of its own, whose memory is free again before the worker starts."""
    note("exporting the bundled model")
    weights, config, labels = (str(PROJECT / "demo" / name) for name in _BUNDLED)
    command = [sys.executable, "-m", "lseg_serve.export", weights, "--config", config, "--labels", labels]
    code = subprocess.run([*command, "--output", str(store)], check=False, stdout=sys.stderr).returncode
    if code != 0:
        known = code in [int(status) for status in Status]
        raise CommandError(
            Status(code) if known else Status.FAULT, "page not served: the bundled model was not exported"
        )


def _endpoint(text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; accepted: seconds above 0, up to 86400")
    return seconds
