"""What the device reports of itself, as TorchServe metrics: `GET :8082/metrics`.

Only numbers and the device's short name go into them: TorchServe drops a metric whose dimensions hold unusual
characters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ParamSpec

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes

from lseg_serve.segmenter import GraphCounts, Segmenter

logger = logging.getLogger(__name__)

P = ParamSpec("P")


class DeviceMetrics:
    """Reports the metrics of a device after each batch. Made once, when the segmenter has been warmed up.

    A device counts from the start of the process. TorchServe adds up what it is given, so each report holds what has
    been counted since the last one; the first covers loading and warm-up, too.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self._device = segmenter.device
        self._cold_graphs = 0 if segmenter.warmed is None else len(segmenter.warmed.cold)
        self._reported: dict[str, int] = {}
        self._compilations_known: int | None = None
        self._late_compilations = 0
        self._failed: set[str] = set()
        self._guarded("compilations", self._note_warm_up)

    def report(self, metrics: Any) -> None:
        """Add to `metrics`, TorchServe's store of metrics, under the first request of the batch.

        What cannot be reported costs neither a response nor the other figures. The log has it once, since it would
        come again with every batch.
        """
        self._guarded("graphs", self._report_graphs, metrics)
        self._guarded("memory", self._report_memory, metrics)
        self._guarded("fallback", self._report_fallback, metrics)

    def _guarded(self, what: str, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(*args, **kwargs)
        except Exception:
            if what not in self._failed:
                self._failed.add(what)
                logger.exception("Metrics of %s cannot be reported (logged once)", what)

    def _note_warm_up(self) -> None:
        self._compilations_known = (self._device.graph_counts() or GraphCounts()).compilations

    def _report_graphs(self, metrics: Any) -> None:
        counts = self._device.graph_counts()
        if counts is None:
            return
        self._warn_of_compilations(counts.compilations)
        self._count(metrics, "LSegGraphCompilations", counts.compilations)
        self._count(metrics, "LSegLateGraphCompilations", self._late_compilations)
        self._count(metrics, "LSegRecipeCacheHits", counts.cache_hits)
        self._count(metrics, "LSegCpuFallbacks", counts.fallbacks)
        self._gauge(metrics, "LSegColdGraphs", self._cold_graphs, "count")

    def _report_memory(self, metrics: Any) -> None:
        memory = self._device.memory()
        if memory is not None:
            self._gauge(metrics, "LSegDeviceMemoryUsed", round(memory.used / 1e6), "MB")
            self._gauge(metrics, "LSegDeviceMemoryFree", round(memory.free / 1e6), "MB")

    def _report_fallback(self, metrics: Any) -> None:
        if self._device.instead_of is not None:
            self._gauge(metrics, "LSegDeviceFallback", 1, "count")

    def _warn_of_compilations(self, compilations: int) -> None:
        """Warn if graphs were compiled since the last batch: warm-up is there to prevent it."""
        known = self._compilations_known
        self._compilations_known = compilations
        if known is not None and compilations > known:
            self._late_compilations += compilations - known
            logger.warning("%d graphs were compiled while requests waited", compilations - known)

    def _count(self, metrics: Any, name: str, total: int) -> None:
        """Report what has been counted since `name` was last reported."""
        metrics.add_counter(name, total - self._reported.get(name, 0), idx=0, dimensions=self._dimensions())
        self._reported[name] = total

    def _gauge(self, metrics: Any, name: str, value: int, unit: str) -> None:
        metrics.add_metric(name, value, unit, idx=0, dimensions=self._dimensions(), metric_type=MetricTypes.GAUGE)

    def _dimensions(self) -> list[Dimension]:
        """A new list each time: TorchServe appends to it."""
        return [Dimension("Device", self._device.short_name)]
