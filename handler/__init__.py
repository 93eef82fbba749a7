"""The TorchServe handler: requests in, answers out. The only room that imports `ts`."""

import os

# Before torch is imported, which on Gaudi would import its bridge in the default mode; the device does so itself, once
# it knows the mode from the configuration.
os.environ.setdefault("PT_HPU_AUTOLOAD", "0")
