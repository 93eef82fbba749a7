"""Intel Gaudi (HPU). Importing this imports nothing of Intel's: `bridge` does so when a card is asked for."""

from lseg_serve.segmenter.devices.hpu.device import HpuDevice

__all__ = ["HpuDevice"]
