"""Serve LSeg with TorchServe: the one name under which the folders of the project are installed.

The entries beside this file are links to the folders at the top of the repository.
"""

import importlib.util
import os

# Where Intel Gaudi's bridge is installed, torch would load it when torch is imported, and the bridge reads its settings
# only then. A device loads it later, with the settings of its mode.
if importlib.util.find_spec("habana_frameworks") is not None:
    os.environ.setdefault("PT_HPU_AUTOLOAD", "0")
