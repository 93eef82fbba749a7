"""`lseg bench`: speed and memory beside the naive path."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from lseg_serve.bench import command, machine
from lseg_serve.cli.endpoint import is_unreachable
from lseg_serve.cli.manners import CommandError, Status, add_json, write
from lseg_serve.client import ClientError
from lseg_serve.export.errors import ExportError
from lseg_serve.server import ServerError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_arguments(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure as the arguments say, and print where the results are."""
    try:
        path = command.measure(arguments)
    except (ClientError, ExportError, ServerError) as error:
        status = Status.UNREACHABLE if is_unreachable(error) else Status.REFUSED
        raise CommandError(status, f"not measured: {error}") from error
    if path is None:
        described = asdict(machine.describe())
        write(arguments, described, json.dumps(described, indent=1))
    else:
        write(arguments, {"results": str(path)}, str(path))
    return Status.OK
