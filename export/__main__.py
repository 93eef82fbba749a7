"""The command `python -m export`: `lseg export` by its other name."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lseg_serve.cli.main import run_as


def main(arguments: Sequence[str] | None = None) -> int:
    """Export as the command line says; 0 when the archive is in its place and has passed its check."""
    return run_as("python -m export", "export", arguments)


if __name__ == "__main__":
    sys.exit(main())
