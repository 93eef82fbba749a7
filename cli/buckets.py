"""`lseg buckets`: the shapes that a worker would compile on a Gaudi, and what they waste."""

from __future__ import annotations

import argparse

from lseg_serve.cli.manners import CommandError, Status, add_json
from lseg_serve.segmenter import ArchiveError, ConfigError
from lseg_serve.segmenter.check.shapes import add_options, print_shapes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_options(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan of shapes."""
    try:
        print_shapes(arguments)
    except (ArchiveError, ConfigError, ValueError) as error:
        raise CommandError(Status.REFUSED, str(error)) from error
    return Status.OK
