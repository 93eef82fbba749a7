"""The command `python -m server`, which starts and stops a TorchServe on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lseg_serve.server.local import HOME, LocalServer, ServerError


def main() -> int:
    """Start or stop the server, as the command line says, and return the exit status."""
    arguments = _parser().parse_args()
    server = LocalServer(arguments.run_folder)
    if arguments.command == "stop":
        print("server stopped" if server.stop() else "no server was running")
        return 0
    try:
        server.stop()
        server.start(arguments.model_store, [arguments.model])
        name = arguments.model.partition("=")[0]
        print(f"waiting for the model {name} (logs in {server.logs})", file=sys.stderr)
        server.wait_until_ready(name)
    except (ServerError, FileNotFoundError) as error:
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
    commands.add_parser("stop", help="stop the server and everything it started")
    return parser


if __name__ == "__main__":
    sys.exit(main())
