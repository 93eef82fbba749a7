"""The processor of the machine, which is always there."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

import torch

from lseg_serve.model import LSeg, int8
from lseg_serve.model.products import onednn_unavailable_reason
from lseg_serve.segmenter.devices.base import Device

logger = logging.getLogger(__name__)


class CpuDevice(Device):
    """The CPU.

    Images go through the network one at a time. A batch would not be faster here, would take more memory, and would
    round differently.
    """

    kind = "cpu"
    batch_sizes: tuple[int, ...] = (1,)
    prepares_each_shape = False

    def __init__(self, index: int | None = None) -> None:
        del index  # TorchServe numbers GPUs only
        super().__init__()

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """None: a CPU can always be used."""
        return None

    def int8_unavailable_reason(self) -> str | None:
        """Why int8 layers cannot run on this processor: older ones lack VNNI."""
        return int8.unavailable_reason()

    def tune(self, net: LSeg) -> None:
        """Let oneDNN multiply where MKL is slow, and bfloat16 attend as it is fastest.

        By the kind of processor, not by a measurement at the start: of eight such measurements on a busy machine some
        chose one library and some the other, and two workers would have rounded differently.
        """
        reason = prefers_mkl() or onednn_unavailable_reason(net.precision)
        if reason is None:
            logger.info("Linear layers: %d by oneDNN", net.multiply_by_onednn())
        else:
            logger.info("Linear layers by torch's own choice: %s", reason)
        if net.precision == torch.bfloat16 and int8.attends_by_products():
            net.attend_by_products()

    def describe(self) -> str:
        """The processor's architecture and the number of threads that torch uses."""
        return f"{self.name} ({platform.machine()}, {torch.get_num_threads()} threads)"


def prefers_mkl(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Why linear layers stay with MKL, to which torch gives them, in words; None on AMD with AVX-512.

    On that kind of processor MKL was measured to be slower than oneDNN, at the same weights. `cpuinfo` is the file in
    which Linux describes the processor.
    """
    try:
        with cpuinfo.open(encoding="utf-8") as file:
            vendor = next((line for line in file if line.startswith("vendor_id")), "")
    except OSError:
        vendor = platform.processor()  # on Windows it ends with the vendor
    if "AuthenticAMD" not in vendor:
        return "MKL is not known to be slow on this processor"
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return "without AVX-512 it was not measured"
    return None
