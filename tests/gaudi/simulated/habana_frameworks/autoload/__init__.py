"""What `import torch` calls when it ends, as torch does for every installed backend."""

from __future__ import annotations

import os


def __autoload() -> None:
    """Load the simulated Gaudi at once, in eager mode or where PT_HPU_AUTOLOAD asks for it.

    The simulator's own reading of the environment cannot be used here: importing it would load all of it.
    """
    default_mode = "1" if os.environ.get("SIMULATED_GAUDI_SOFTWARE") == "1.19" else "0"
    lazy = os.environ.get("PT_HPU_LAZY_MODE", default_mode) != "0"
    if os.environ.get("PT_HPU_AUTOLOAD", "0" if lazy else "1") == "1":
        import habana_frameworks.torch.core  # noqa: F401
