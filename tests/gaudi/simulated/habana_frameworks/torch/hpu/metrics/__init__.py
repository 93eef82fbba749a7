"""Counters that a program for Gaudi reads to find out about compilations and fall-backs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from habana_frameworks.torch.hpu.metrics.metric import (
    CpuFallback,
    GraphCompilation,
    MemoryDefragmentation,
    Metric,
    RecipeCache,
    cache_metrics_enabled,
)

__all__ = ["Metric", "MetricNotFound", "metric_global", "metric_localcontext"]

_KINDS: dict[str, type[Metric]] = {
    kind.metric_name: kind for kind in (GraphCompilation, CpuFallback, MemoryDefragmentation)
}
if cache_metrics_enabled():
    _KINDS[RecipeCache.metric_name] = RecipeCache


class MetricNotFound(Exception):  # noqa: N818 - the name of the real class
    """No metric has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Metric with given name ({name}) doesn't exist.")


def _started(kind: type[Metric]) -> Metric:
    metric = kind()
    metric.start()
    return metric


_GLOBAL = {name: _started(kind) for name, kind in _KINDS.items()}


def metric_global(name: str) -> Metric | None:
    """The metric of the whole process; None where there is none of this name."""
    return _GLOBAL.get(name)


@contextmanager
def metric_localcontext(name: str) -> Iterator[Metric]:
    """A metric that counts inside the block only.

    Raises:
        MetricNotFound: there is none of this name.
    """
    if name not in _KINDS:
        raise MetricNotFound(name)
    metric = _started(_KINDS[name])
    try:
        yield metric
    finally:
        metric.stop()
