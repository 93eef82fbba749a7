"""The machine that was measured on: what it is, and how fast it multiplies matrices."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from lseg_serve.bench.timing import interleaved

_SIDE = 2048  # of the matrices: 25 MB in float32, far beyond any cache of one core
_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_int8")


@dataclass(frozen=True)
class Machine:
    """A machine and the rates of its matrix products, in 10^9 operations a second (2 for each multiply-add)."""

    processor: str
    cores: int
    features: tuple[str, ...]
    memory_gb: float
    system: str
    versions: dict[str, str]
    gemm_float32: float
    gemm_bfloat16: float
    gemm_int8: float

    @property
    def short_name(self) -> str:
        """The processor for a heading, such as `Intel Xeon`."""
        words = self.processor.replace("(R)", "").replace("(TM)", "").replace("Processor", "").split()
        return " ".join(words)

    def rate(self, precision: str) -> float:
        """The rate of `precision`."""
        return {"float32": self.gemm_float32, "bfloat16": self.gemm_bfloat16, "int8": self.gemm_int8}[precision]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Machine:
        """The machine of a JSON object with the names of the fields."""
        return cls(**{**values, "features": tuple(values["features"])})


def describe(runs: int = 9) -> Machine:
    """Describe this machine and measure its rates, the three in turns."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(_SIDE, _SIDE, generator=generator)
    half, small = a.bfloat16(), (a * 30).clamp(-127, 127).to(torch.int8)
    unsigned = small.to(torch.int16).add_(128).to(torch.uint8)
    packed = torch.ops.onednn.qlinear_prepack(small, [_SIDE, _SIDE])
    scales, zeros = torch.ones(_SIDE), torch.zeros(_SIDE, dtype=torch.int32)
    times = interleaved(
        {
            "float32": lambda: a @ a,
            # Transposed as in a linear layer: plain `half @ half` takes a minute where a processor lacks bfloat16.
            "bfloat16": lambda: half @ half.T,
            "int8": lambda: torch.ops.onednn.qlinear_pointwise(
                unsigned, 1.0, 128, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
            ),
        },
        runs,
    )
    rates = {name: 2 * _SIDE**3 / min(each.wall) / 1e9 for name, each in times.items()}
    return Machine(
        processor=_processor(),
        cores=len(psutil.Process().cpu_affinity()),
        features=tuple(feature for feature in _FEATURES if feature in _cpuinfo("flags").split()),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        versions={name: metadata.version(name).partition("+")[0] for name in ("torch", "timm", "numpy", "torchserve")},
        gemm_float32=round(rates["float32"], 1),
        gemm_bfloat16=round(rates["bfloat16"], 1),
        gemm_int8=round(rates["int8"], 1),
    )


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(name: str) -> str:
    """The first value of `name` in Linux's description of the processor; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
