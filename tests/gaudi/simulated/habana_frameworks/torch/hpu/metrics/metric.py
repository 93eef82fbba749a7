"""The metrics: each listens to the device's events and tells its totals as (name, value) pairs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from habana_frameworks.torch.simulated.environment import truthy
from habana_frameworks.torch.utils.event_dispatcher import EventDispatcher, EventId

Stats = list[tuple[str, Any]]
OnChange = Callable[[int, str, Stats], None]


def cache_metrics_enabled() -> bool:
    """Whether there is a metric of the recipe cache; asked once, at the import."""
    return truthy(os.environ.get("PT_HPU_ENABLE_CACHE_METRICS"))


class Metric:
    """One set of totals."""

    metric_name: ClassVar[str]
    events: ClassVar[tuple[EventId, ...]]

    def __init__(self) -> None:
        self._handles: list[int] = []
        self._callbacks: list[OnChange] = []
        self.reset()

    def name(self) -> str:
        """The metric's name."""
        return self.metric_name

    def stats(self) -> Stats:
        """The totals."""
        raise NotImplementedError

    def reset(self) -> None:
        """Begin again from zero."""

    def count(self, event: EventId, values: dict[str, str]) -> None:
        """Take an event into the totals."""
        raise NotImplementedError

    def start(self) -> None:
        """Count from now on."""
        if not self._handles:
            dispatcher = EventDispatcher.instance()
            self._handles = [dispatcher.subscribe(event, self._listener(event)) for event in self.events]

    def stop(self) -> None:
        """Count no longer."""
        for handle in self._handles:
            EventDispatcher.instance().unsubscribe(handle)
        self._handles = []

    def on_metric_change(self, callback: OnChange) -> None:
        """Call `callback` with time, name and totals at every change."""
        self._callbacks.append(callback)

    def _listener(self, event: EventId) -> Callable[[int, list[tuple[str, str]]], None]:
        def listen(timestamp: int, values: list[tuple[str, str]]) -> None:
            self.count(event, dict(values))
            for callback in self._callbacks:
                callback(timestamp, self.metric_name, self.stats())

        return listen


class GraphCompilation(Metric):
    """Graphs that the compiler ran for; times in microseconds. `reset` keeps the recipes, as the real one does."""

    metric_name = "graph_compilation"
    events = (EventId.GRAPH_COMPILATION,)

    def __init__(self) -> None:
        self._recipes: list[tuple[str, int]] = []
        super().__init__()

    def reset(self) -> None:
        self._number, self._time = 0, 0

    def stats(self) -> Stats:
        average = self._time / self._number if self._number else 0
        totals: Stats = [("TotalNumber", self._number), ("TotalTime", self._time), ("AvgTime", average)]
        if truthy(os.environ.get("PT_HPU_METRICS_GC_DETAILS")):
            totals.append(("recipe", list(self._recipes)))
        return totals

    def count(self, event: EventId, values: dict[str, str]) -> None:
        self._number += 1
        self._time += int(values["duration"])
        self._recipes.append((values["recipe"], int(values["duration"])))


class CpuFallback(Metric):
    """Operators that ran on the host."""

    metric_name = "cpu_fallback"
    events = (EventId.CPU_FALLBACK,)

    def reset(self) -> None:
        self._operators: Counter[str] = Counter()

    def stats(self) -> Stats:
        return [("TotalNumber", self._operators.total()), ("FallbackOps", dict(self._operators))]

    def count(self, event: EventId, values: dict[str, str]) -> None:
        self._operators[values["op_name"]] += 1


class MemoryDefragmentation(Metric):
    """Never counts: memory here does not fragment."""

    metric_name = "memory_defragmentation"
    events = ()

    def stats(self) -> Stats:
        return [("TotalNumber", 0), ("TotalSuccessful", 0), ("AvgTime", 0), ("MaxTime", 0)]


class RecipeCache(Metric):
    """Graphs whose recipe was known, in memory or on disk, and those whose was not."""

    metric_name = "recipe_cache"
    events = (EventId.CACHE_HIT, EventId.CACHE_MISS)

    def reset(self) -> None:
        self._hits: Counter[str] = Counter()
        self._misses: Counter[str] = Counter()

    def stats(self) -> Stats:
        return [
            ("TotalHit", self._hits.total()),
            ("RecipeHit", dict(self._hits)),
            ("TotalMiss", self._misses.total()),
            ("RecipeMiss", dict(self._misses)),
        ]

    def count(self, event: EventId, values: dict[str, str]) -> None:
        (self._hits if event is EventId.CACHE_HIT else self._misses)[values["recipe_id"]] += 1
