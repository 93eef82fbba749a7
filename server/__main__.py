"""The command `python -m server`, which starts and stops a TorchServe on this machine."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType

from lseg_serve.server.addresses import LARGEST_PORT, Addresses, port_option
from lseg_serve.server.drain import Patience
from lseg_serve.server.environment import CONSOLE_LOG, HOME
from lseg_serve.server.errors import ServerError
from lseg_serve.server.foreground import ForegroundServer
from lseg_serve.server.local import LocalServer
from lseg_serve.server.settings import Settings


def main() -> int:
    """Start, run or stop the server, as the command line says, and return the exit status."""
    arguments = _parser().parse_args()
    if arguments.command == "stop":
        print("server stopped" if LocalServer(arguments.run_folder).stop() else "no server was running")
        return 0
    _end_like_an_interrupt()
    if arguments.command == "run":
        return _run(arguments)
    name = arguments.model.partition("=")[0]
    try:
        server = _configured(arguments)
        print(f"waiting for the model {name} (logs in {server.logs})", file=sys.stderr)
        server.serve(arguments.model_store, arguments.model)
    except (ServerError, OSError) as error:
        print(f"server not started: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("start interrupted; the server is stopped", file=sys.stderr)
        return 130
    print(f"serving {server.addresses.inference_url}/predictions/{name}; stop it with `make stop`")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    name, _, archive = arguments.model.partition("=")
    patience = Patience(arguments.leave_seconds, arguments.answer_seconds)
    try:
        server = replace(_configured(arguments), console_log=arguments.log_config)
        drained = ForegroundServer(server, name, patience).run(arguments.model_store, archive, arguments.health)
    except (ServerError, OSError) as error:
        print(f"server not running: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("start interrupted; the server is stopped", file=sys.stderr)
        return 130
    return 1 if drained.waiting else 0


def _configured(arguments: argparse.Namespace) -> LocalServer:
    """The server that the options, the environment and the configuration file describe, in this order.

    Raises:
        ServerError: an address is not accepted.
        OSError: the configuration file cannot be read.
    """
    config = Path(os.environ.get("TS_CONFIG_FILE") or LocalServer.config)
    ports = {name: getattr(arguments, f"{name}_port") for name in Addresses().named()}
    addresses = Addresses.configured(Settings.read(config, os.environ)).with_ports(ports)
    return LocalServer(arguments.run_folder, addresses, config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m server", description="Run TorchServe on this machine.")
    parser.add_argument("--run-folder", type=Path, default=HOME / ".run", help="logs, sockets, process id")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser(
        "start", help="stop a running server, start a new one, and wait until the model is ready"
    )
    run = commands.add_parser(
        "run", help="the same in the foreground, as a container does; on SIGTERM, answer who waits and end"
    )
    for command in (start, run):
        _add_server(command)
    _add_foreground(run)
    commands.add_parser("stop", help="stop the server and everything it started")
    return parser


def _add_server(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model-store", type=Path, default=HOME / "model_store")
    command.add_argument("--model", type=_model, default="lseg=lseg.mar", help="name=file (default: %(default)s)")
    for name, address in Addresses().named().items():
        command.add_argument(
            port_option(name),
            dest=f"{name}_port",
            type=_port,
            metavar="PORT",
            help=f"(default: of the environment or else of config.properties, where it is {address.port})",
        )


def _add_foreground(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--health",
        type=_host_and_port,
        default=os.environ.get("LSEG_HEALTH_ADDRESS") or "127.0.0.1:8083",
        metavar="HOST:PORT",
        help="where GET /ready and GET /live are answered (default: LSEG_HEALTH_ADDRESS, or else 127.0.0.1:8083)",
    )
    command.add_argument(
        "--log-config",
        type=Path,
        default=CONSOLE_LOG,
        metavar="FILE",
        help="configuration of log4j2 (default: the project's log4j2-console.xml, which logs to the console)",
    )
    command.add_argument(
        "--leave-seconds",
        type=_seconds,
        default=5,
        metavar="S",
        help="on SIGTERM, from not being ready until requests should have stopped coming (default: %(default)s)",
    )
    command.add_argument(
        "--answer-seconds",
        type=_seconds,
        default=600,
        metavar="S",
        help="after that, the longest wait for answers that are due (default: %(default)s, as responseTimeout)",
    )


def _model(text: str) -> str:
    if not re.fullmatch(r"[^=\s]+=\S.*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a model; accepted: name=file, such as lseg=lseg.mar")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; a port is a number from 1 to {LARGEST_PORT}")
    return int(text)


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; accepted: HOST:PORT, such as 0.0.0.0:8083")
    return host, _port(port)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; accepted: 0 or more")
    return seconds


def _end_like_an_interrupt() -> None:
    """Let a request to end, or a closed terminal, raise KeyboardInterrupt; `nohup` stays in force."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
