"""`python -m segmenter configuration`: every key of model-config.yaml, as docs/configuration.md has them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lseg_serve.cli.manners import CommandError, Status
from lseg_serve.segmenter.config import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("page", type=Path, nargs="?", help="a page to write them into; without it, printed")


def run(arguments: argparse.Namespace) -> int:
    """Print the keys, or write them into the page."""
    page: Path | None = arguments.page
    if page is None:
        sys.stdout.write(table.markdown() + "\n")
        return Status.OK
    try:
        page.write_text(table.written_into(page.read_text(encoding="utf-8")), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CommandError(Status.REFUSED, f"{page}: {error}") from error
    return Status.OK
