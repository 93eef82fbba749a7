"""The command `python -m segmenter`: `lseg buckets`, `lseg check-device`, and the keys of model-config.yaml."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lseg_serve.cli.main import run_segmenter


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line names, and return the exit status."""
    return run_segmenter(arguments)


if __name__ == "__main__":
    sys.exit(main())
