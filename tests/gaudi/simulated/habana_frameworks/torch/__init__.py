"""`habana_frameworks.torch`, simulated on stock CPU torch: see tests/gaudi/README.md."""

import builtins
import os

if "SIMULATED_GAUDI_IMPORT_ERROR" in os.environ:
    raise getattr(builtins, os.environ["SIMULATED_GAUDI_IMPORT_ERROR"])("libSynapse.so: cannot be loaded (simulated)")

from habana_frameworks.torch import core, hpu  # noqa: E402
from habana_frameworks.torch.simulated.environment import SOFTWARE  # noqa: E402

__all__ = ["core", "hpu"]
__version__ = ".".join(map(str, SOFTWARE)) + ".0"
