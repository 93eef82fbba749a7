"""`lseg check-device`: whether the device here computes as it should, and how fast."""

from __future__ import annotations

import argparse

from lseg_serve.cli.manners import CommandError, Status
from lseg_serve.segmenter import ArchiveError, ConfigError, DeviceError, SegmenterError
from lseg_serve.segmenter.check import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command. Its `--json` may name a file."""
    command.add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Try the device and print the report."""
    try:
        passed = command.run(arguments)
    except (SegmenterError, ArchiveError, ConfigError, DeviceError, ValueError) as error:
        raise CommandError(Status.REFUSED, str(error)) from error
    return Status.OK if passed else Status.PARTLY_FAILED
