"""`python -m lseg_serve.cli`: the command `lseg` where its script is not on the PATH."""

from __future__ import annotations

import sys

from lseg_serve.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
