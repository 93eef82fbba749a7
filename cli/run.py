"""`lseg run`: a TorchServe in the foreground, as a container runs it."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from lseg_serve.cli.manners import CommandError, Status, note
from lseg_serve.cli.serve import add_server, configured, not_started, port_number
from lseg_serve.server.drain import Patience
from lseg_serve.server.environment import CONSOLE_LOG
from lseg_serve.server.errors import ServerError
from lseg_serve.server.foreground import ForegroundServer

_VARIABLE = "LSEG_HEALTH_ADDRESS"
_HEALTH = "127.0.0.1:8083"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_server(parser)
    parser.add_argument(
        "--health",
        type=_host_and_port,
        default=os.environ.get(_VARIABLE) or _HEALTH,
        metavar="HOST:PORT",
        help=f"where GET /ready and GET /live are answered (default: {_VARIABLE}, or else {_HEALTH})",
    )
    parser.add_argument(
        "--log-config",
        type=Path,
        default=CONSOLE_LOG,
        metavar="FILE",
        help="configuration of log4j2 (default: the project's log4j2-console.xml, which logs to the console)",
    )
    parser.add_argument(
        "--leave-seconds",
        type=_seconds,
        default=5,
        metavar="S",
        help="told to end, from not being ready until requests should have stopped coming (default: %(default)s)",
    )
    parser.add_argument(
        "--answer-seconds",
        type=_seconds,
        default=600,
        metavar="S",
        help="after that, the longest wait for answers that are due (default: %(default)s, as responseTimeout)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to end, and answer who waits."""
    name, _, archive = arguments.model.partition("=")
    patience = Patience(arguments.leave_seconds, arguments.answer_seconds)
    try:
        server = replace(configured(arguments), console_log=arguments.log_config)
        drained = ForegroundServer(server, name, patience, note).run(arguments.model_store, archive, arguments.health)
    except (ServerError, OSError) as error:
        raise not_started(error) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt("start interrupted; the server is stopped") from None
    if drained.waiting:
        raise CommandError(Status.PARTLY_FAILED, str(drained))
    note(str(drained))
    return Status.OK


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; accepted: HOST:PORT, such as 0.0.0.0:8083")
    return host, port_number(port)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; accepted: 0 or more")
    return seconds
