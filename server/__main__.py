"""The command `python -m server`, which starts and stops a TorchServe on this machine."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from lseg_serve.server.local import HOME, Addresses, LocalServer, ServerError, port_option


def main() -> int:
    """Start or stop the server, as the command line says, and return the exit status."""
    arguments = _parser().parse_args()
    if arguments.command == "stop":
        print("server stopped" if LocalServer(arguments.run_folder).stop() else "no server was running")
        return 0
    ports = {port.name: getattr(arguments, f"{port.name}_port") for port in fields(Addresses)}
    server = LocalServer(arguments.run_folder, Addresses(**ports))
    try:
        server.stop()
        server.start(arguments.model_store, [arguments.model])
        name = arguments.model.partition("=")[0]
        print(f"waiting for the model {name} (logs in {server.logs})", file=sys.stderr)
        server.wait_until_ready(name)
    except (ServerError, OSError) as error:
        print(f"server not started: {error}", file=sys.stderr)
        server.stop()
        return 1
    print(f"serving {server.addresses.inference_url}/predictions/{name}; stop it with `make stop`")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m server", description="Run TorchServe on this machine.")
    parser.add_argument("--run-folder", type=Path, default=HOME / ".run", help="logs, sockets, process id")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser(
        "start", help="stop a running server, start a new one, and wait until the model is ready"
    )
    start.add_argument("--model-store", type=Path, default=HOME / "model_store")
    start.add_argument("--model", default="lseg=lseg.mar", help="name=file (default: %(default)s)")
    for port in fields(Addresses):
        start.add_argument(
            port_option(port.name),
            dest=f"{port.name}_port",
            type=_port,
            default=port.default,
            metavar="PORT",
            help="on 127.0.0.1 (default: %(default)s)",
        )
    commands.add_parser("stop", help="stop the server and everything it started")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; a port is a number from 1 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
