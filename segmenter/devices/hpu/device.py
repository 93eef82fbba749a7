"""A Gaudi card: lazy mode, lazy mode with HPU graphs, or eager mode with torch.compile.

Sources: the Gaudi documentation (Runtime Flags, Inference Using HPU Graphs), and the published source of the bridge.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lseg_serve.model import Attend
from lseg_serve.segmenter.config import Config
from lseg_serve.segmenter.devices.base import Device, DeviceMemory, GraphCounts, Module, Step
from lseg_serve.segmenter.devices.hpu import bridge
from lseg_serve.segmenter.devices.hpu.attention import choose_attention
from lseg_serve.segmenter.devices.hpu.cards import take_card
from lseg_serve.segmenter.devices.hpu.recipes import use_recipe_cache
from lseg_serve.segmenter.errors import DeviceAbsentError, DeviceError


class HpuDevice(Device):
    """One Gaudi card. This process uses only this card, and no other process uses it."""

    kind = "hpu"
    prepares_each_shape = True
    compiles_each_shape = True

    def __init__(self, config: Config) -> None:
        self.mode, self.params = bridge.mode_of(config.hpu_mode), config.hpu
        self.batch_sizes = self.params.batch_sizes
        # The first run captures a graph. The second one replays it, which compiles another graph to copy the inputs.
        self.runs_to_warm = 2 if self.mode == "graphs" else 1
        self._core = bridge.load(self.mode)
        super().__init__()
        if not self._hpu.is_available():
            raise DeviceAbsentError(
                "no Gaudi card was found: is the driver loaded, and the container started with one?"
            )
        use_recipe_cache(self.params, bridge.version())
        self.card = take_card(Path(self.params.card_locks).expanduser(), _acquire)
        self.unit = None if self.card is None else self.card.module
        _set_inference(self._core)
        if self.mode == "eager":
            _allow_shapes(self.params.max_graphs)

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """Whether Gaudi's package is missing, in words; None if it is installed."""
        if bridge.installed():
            return None
        return (
            f"the package {bridge.PACKAGE} is not installed; it comes with Intel Gaudi's PyTorch images, not from PyPI"
        )

    def describe(self) -> str:
        """The card's model, its module and the mode."""
        module = "unknown" if self.unit is None else self.unit
        precision = "bfloat16" if self.params.bfloat16 else "float32"
        return f"hpu ({self._hpu.get_device_name()}, module {module}, {self.mode}, {precision})"

    def place(self, module: Module) -> Module:
        """Move the module's tensors to the card.

        What the move leaves to be done is done here. Otherwise it would become a part of the first graph, which no
        later one would equal.
        """
        placed = super().place(module)
        self._core.mark_step()
        return placed

    def attention(self) -> Attend:
        """Gaudi's fused attention, or products in the type of `reduced_precision` with a softmax in float32."""
        return choose_attention(self.params)

    def prepare(self, step: Step, *, short: bool = False) -> Step:
        """`step`, captured or compiled as the mode demands; its graph ends where the step ends."""
        run = step
        if self.mode == "graphs" and not short:
            run = self._hpu.wrap_in_hpu_graph_func(run)
        elif self.mode == "eager":
            run = torch.compile(run, backend="hpu_backend", dynamic=False)

        def step_on_card(*tensors: Tensor) -> Tensor:
            result = run(*tensors)
            self._core.mark_step()  # or else the next step would extend this graph; in eager mode it does nothing
            return result

        return step_on_card

    def reduced_precision(self) -> AbstractContextManager[object]:
        """Autocast to bfloat16, if the configuration says so."""
        return torch.autocast("hpu", dtype=torch.bfloat16, enabled=self.params.bfloat16)

    def wait(self) -> None:
        """Wait until the card has done all its work, compiling included."""
        self._hpu.synchronize()

    def is_lost_by(self, error: BaseException) -> bool:
        """Whether the driver gave up: a process cannot use its card again after that."""
        return isinstance(error, RuntimeError) and "synStatus" in str(error)

    def memory(self) -> DeviceMemory:
        """The card's memory as its allocator counts it for this process, which is the only one on the card."""
        free, total = self._hpu.mem_get_info()
        return DeviceMemory(total - free, free)

    def graph_counts(self) -> GraphCounts:
        """The counts from Gaudi's own metrics. Older versions do not count cache hits, which are 0 then."""
        return GraphCounts(
            compilations=self._metric("graph_compilation", "TotalNumber"),
            cache_hits=self._metric("recipe_cache", "TotalHit"),
            fallbacks=self._metric("cpu_fallback", "TotalNumber"),
        )

    def fallback_counts(self) -> dict[str, int]:
        """Operators that ran on the host, from Gaudi's own metric."""
        return dict(self._stats("cpu_fallback").get("FallbackOps", {}))

    def _metric(self, name: str, figure: str) -> int:
        stats = self._stats(name)
        return int(stats[figure]) if stats else 0

    def _stats(self, name: str) -> dict[str, Any]:
        """The figures of a metric; none where this version does not have it."""
        metrics = importlib.import_module(f"{bridge.PACKAGE}.hpu.metrics")
        metric = metrics.metric_global(name)
        return {} if metric is None else dict(metric.stats())

    @property
    def _hpu(self) -> ModuleType:
        return importlib.import_module(f"{bridge.PACKAGE}.hpu")


def _acquire() -> None:
    """Occupy a card, to learn now whether it works: `is_available` is true even if all cards are busy.

    Raises:
        DeviceError: the driver refuses it; the message has the driver's words.
    """
    try:
        torch.zeros(1, device="hpu").cpu()
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(str(error)) from error


def _set_inference(core: ModuleType) -> None:
    """Switch Gaudi to inference. The function has another name in each version."""
    for name in ("hpu_inference_set_env", "hpu_set_inference_env", "hpu_set_env"):
        if hasattr(core, name):
            getattr(core, name)()
            return


def _allow_shapes(graphs: int) -> None:
    """Let torch.compile keep this many graphs.

    By default it keeps 8, and silently runs all further shapes without compiling them.
    """
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, graphs + 1)
    torch._dynamo.config.accumulated_cache_size_limit = max(
        torch._dynamo.config.accumulated_cache_size_limit, 8 * (graphs + 1)
    )
