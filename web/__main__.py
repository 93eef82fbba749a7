"""The command `python -m web`."""

from __future__ import annotations

import argparse
import sys

from lseg_serve.web.command import add_arguments, run


def main() -> int:
    """Serve the page as the command line says, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m web", description="Serve the page on this machine, with a TorchServe behind it."
    )
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
