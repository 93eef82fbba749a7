"""A thin device over torch_xla, in the place of a Gaudi: a real lazy engine, which this project had no part in.

As on a Gaudi, operators pile up until the graph is cut, and each new graph is compiled. `torch_xla.sync()` is what
`mark_step()` is there, and `aten::` counters count what ran on the host.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

os.environ.setdefault("PJRT_DEVICE", "CPU")

import torch
import torch_xla
import torch_xla.core.xla_model as xm
import torch_xla.debug.metrics as xla_metrics

from lseg_serve.model import Attend, attend_by_products
from lseg_serve.segmenter import Config, GraphCounts
from lseg_serve.segmenter.devices import Device
from lseg_serve.segmenter.devices.base import Module, Step


class XlaDevice(Device):
    """The first device of XLA, planned for and used as a Gaudi in lazy mode is."""

    kind = "xla"
    prepares_each_shape = True
    compiles_each_shape = True

    def __init__(self, config: Config, *, cut_after_placement: bool = True) -> None:
        self.batch_sizes, self.bfloat16 = config.hpu.batch_sizes, config.hpu.bfloat16
        self._cut_after_placement = cut_after_placement
        super().__init__()
        self.torch_device = torch_xla.device()

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """None: this file cannot be imported without torch_xla."""
        return None

    def describe(self) -> str:
        """The version of torch_xla and the precision."""
        return f"xla (torch_xla {torch_xla.__version__}, {'bfloat16' if self.bfloat16 else 'float32'})"

    def place(self, module: Module) -> Module:
        """Move the module's tensors, and end the graph that this begins, unless a test wants it open."""
        placed = super().place(module)
        if self._cut_after_placement:
            torch_xla.sync()
        return placed

    def attention(self) -> Attend:
        """Two products, as on a Gaudi without a fused kernel."""
        return attend_by_products

    def prepare(self, step: Step, *, short: bool = False) -> Step:
        """`step`, whose graph ends where the step ends."""
        del short

        def step_on_xla(*tensors: torch.Tensor) -> torch.Tensor:
            result = step(*tensors)
            torch_xla.sync()
            return result

        return step_on_xla

    def reduced_precision(self) -> AbstractContextManager[object]:
        """Autocast to bfloat16, if the configuration says so."""
        return torch.autocast("xla", dtype=torch.bfloat16, enabled=self.bfloat16)

    def wait(self) -> None:
        """Wait until all graphs have run."""
        xm.wait_device_ops()

    def graph_counts(self) -> GraphCounts:
        """What XLA has compiled, found compiled, and left to the host."""
        compiled = xla_metrics.metric_data("CompileTime")
        return GraphCounts(
            compilations=0 if compiled is None else compiled[0],
            cache_hits=xla_metrics.counter_value("CachedCompile") or 0,
            fallbacks=sum(self.fallback_counts().values()),
        )

    def fallback_counts(self) -> dict[str, int]:
        """XLA's counters of operators that it does not have."""
        names = (name for name in xla_metrics.counter_names() if name.startswith("aten::"))
        return {name: xla_metrics.counter_value(name) or 0 for name in names}
