"""HPU graphs: a function is run once and kept; later calls with inputs of the same shape play it again.

The results of a shape are the same tensors at every call. Whoever keeps one must copy it before the next call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from habana_frameworks.torch.simulated import capture
from habana_frameworks.torch.simulated.counts import TOTALS
from habana_frameworks.torch.simulated.device import DEVICE
from habana_frameworks.torch.simulated.recorder import RECORDER
from habana_frameworks.torch.utils.internal import is_lazy

Module = TypeVar("Module", bound=nn.Module)


class HPUGraph:
    """What ran between the beginning and the end of a capture."""

    def __init__(self) -> None:
        self._tape: capture.Tape | None = None

    def capture_begin(self, dry_run: bool = False) -> None:
        """Run what is pending, and keep what comes.

        Raises:
            RuntimeError: the process runs in eager mode, or a capture is going on.
        """
        if not is_lazy():
            raise RuntimeError("simulated Gaudi: HPU graphs need lazy mode (PT_HPU_LAZY_MODE=1)")
        DEVICE.acquire()
        RECORDER.lock.acquire()
        try:
            RECORDER.cut("capture_begin")
            capture.begin()
        except BaseException:
            RECORDER.lock.release()
            raise

    def capture_end(self) -> None:
        """Stop, and compile what was kept as one graph."""
        try:
            self._tape = capture.end()
            RECORDER.cut("capture_end")
        finally:
            RECORDER.lock.release()

    def replay(self, asynchronous: bool = False) -> None:
        """Run it again with what its inputs hold now."""
        if self._tape is None:
            raise RuntimeError("simulated Gaudi: nothing was captured")
        RECORDER.cut("replay")
        TOTALS.graph_replays += 1
        self._tape.play()

    def reset(self) -> None:
        """Forget what was kept."""
        self._tape = None


@dataclass
class _Captured:
    inputs: list[Tensor]
    outputs: Any
    graph: HPUGraph


class _Cache:
    """A function and its captures, by the shapes of its inputs; dtypes are not looked at."""

    def __init__(self, function: Callable[..., Any], max_graphs: int | None) -> None:
        self._function = function
        self._most = max_graphs
        self._captured: dict[int, _Captured] = {}

    def clear(self) -> None:
        self._captured.clear()

    def clear_inputs(self) -> None:
        """The inputs stay: they are what a replay reads."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        warmup = kwargs.pop("warmup_mode", False)
        bypass = kwargs.pop("bypass_hpu_graphs", False)
        kwargs.pop("cache_tensors_list", None)
        if bypass:
            return self._function(*args, **kwargs)
        key = input_hash((args, kwargs))
        captured = self._captured.get(key)
        if captured is None:
            if self._most is not None and len(self._captured) >= self._most:
                return self._function(*args, **kwargs)
            return self._capture(key, args, kwargs)
        if warmup:
            RECORDER.cut("mark_step")
            return captured.outputs
        for target, source in zip(captured.inputs, _tensors((args, kwargs)), strict=True):
            if target is not source:
                target.copy_(source, non_blocking=True)
        captured.graph.replay()
        return captured.outputs

    def _capture(self, key: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        graph = HPUGraph()
        graph.capture_begin()
        try:
            outputs = self._function(*args, **kwargs)
        finally:
            graph.capture_end()
        self._captured[key] = _Captured(list(_tensors((args, kwargs))), outputs, graph)
        return outputs


def input_hash(value: Any) -> int:
    """The same for inputs of the same shapes; what is no tensor counts by its value, and must be hashable."""
    if isinstance(value, Tensor):
        strides = () if value.is_contiguous() else value.stride()
        return hash((tuple(value.shape), strides, torch.is_autocast_enabled("hpu")))
    if isinstance(value, dict):
        return hash(tuple((key, input_hash(one)) for key, one in value.items()))
    if isinstance(value, tuple | list):
        return hash(tuple(input_hash(one) for one in value))
    return hash(value)


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _tensors(one)


def wrap_in_hpu_graph_func(
    func: Callable[..., Any],
    asynchronous: bool = False,
    disable_tensor_cache: bool = False,
    dry_run: bool = False,
    max_graphs: int | None = None,
) -> Callable[..., Any]:
    """`func` with HPU graphs; beyond `max_graphs` shapes it runs as it is, and says nothing."""
    cache = _Cache(func, max_graphs)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return cache(*args, **kwargs)

    return wrapped


def wrap_in_hpu_graph(
    module: Module,
    asynchronous: bool = False,
    disable_tensor_cache: bool = False,
    dry_run: bool = False,
    max_graphs: int | None = None,
) -> Module:
    """The same module, its `forward` replaced by one with HPU graphs, with `clear_cache` and `clear_inputs`."""
    cache = _Cache(module.forward, max_graphs)
    module.forward = cache
    module.clear_cache = cache.clear  # type: ignore[assignment]
    module.clear_inputs = cache.clear_inputs  # type: ignore[assignment]
    return module


def is_current_stream_capturing() -> bool:
    """Whether a capture is going on."""
    return capture.capturing()
