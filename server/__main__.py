"""The command `python -m server`: `lseg serve`, `lseg run` and `lseg stop` as `start`, `run` and `stop`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lseg_serve.cli.main import run_server


def main(arguments: Sequence[str] | None = None) -> int:
    """Start, run or stop the server, as the command line says, and return the exit status."""
    return run_server(arguments)


if __name__ == "__main__":
    sys.exit(main())
