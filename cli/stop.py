"""`lseg stop`: stop the TorchServe of a run folder."""

from __future__ import annotations

import argparse

from lseg_serve.cli.manners import Status, add_json, write
from lseg_serve.cli.serve import add_run_folder, run_folder_of
from lseg_serve.server.local import LocalServer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_run_folder(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stop the server and everything it started. That none was running is no error."""
    stopped = LocalServer(run_folder_of(arguments)).stop()
    write(arguments, {"stopped": stopped}, "server stopped" if stopped else "no server was running")
    return Status.OK
