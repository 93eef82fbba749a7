"""`habana_frameworks.torch`, simulated on stock CPU torch: see tests/gaudi/README.md."""

from habana_frameworks.torch import core, hpu

__all__ = ["core", "hpu"]
