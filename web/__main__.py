"""The command `python -m web`: `lseg web` by its other name."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lseg_serve.cli.main import run_as


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page as the command line says, and return the exit status."""
    return run_as("python -m web", "web", arguments)


if __name__ == "__main__":
    sys.exit(main())
