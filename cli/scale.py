"""`lseg scale`: change how many workers a model has, and wait until all of them are ready."""

from __future__ import annotations

import argparse

from lseg_serve.cli.endpoint import add_endpoint, add_management, managing
from lseg_serve.cli.manners import Status, add_json, write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("workers", type=_count, help="how many; 0 ends all of them")
    add_endpoint(parser)
    add_management(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Scale, and wait up to --timeout."""
    with managing(arguments) as client:
        workers = client.scale(arguments.workers, seconds=arguments.timeout)
    document = {"model": arguments.model, "workers": [worker.model_dump(mode="json") for worker in workers]}
    count = len(workers)
    write(arguments, document, f"{arguments.model}: {count} worker{'' if count == 1 else 's'}, ready")
    return Status.OK


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers; accepted: 0 or more")
    return int(text)
