"""The metrics as the real software tells them."""

from __future__ import annotations

import pytest
import torch

from tests.gaudi.process import simulated


def relu_at(width: int) -> torch.Tensor:
    import habana_frameworks.torch.core  # noqa: F401

    return torch.ones(width).to("hpu").relu().cpu()


@simulated()
def test_a_new_process_has_counted_nothing() -> None:
    from habana_frameworks.torch.hpu.metrics import MetricNotFound, metric_global, metric_localcontext

    compilation, fallback = metric_global("graph_compilation"), metric_global("cpu_fallback")
    assert compilation.stats() == [("TotalNumber", 0), ("TotalTime", 0), ("AvgTime", 0)]
    assert fallback.stats() == [("TotalNumber", 0), ("FallbackOps", {})]
    assert [name for name, _ in metric_global("memory_defragmentation").stats()] == [
        "TotalNumber",
        "TotalSuccessful",
        "AvgTime",
        "MaxTime",
    ]
    assert metric_global("recipe_cache") is None and metric_global("other") is None
    with (
        pytest.raises(MetricNotFound, match=r"^Metric with given name \(other\) doesn't exist\.$"),
        metric_localcontext("other"),
    ):
        pass


@simulated(PT_HPU_ENABLE_CACHE_METRICS="On")
def test_ten_runs_of_one_shape_are_one_compilation_one_miss_and_nine_hits() -> None:
    from habana_frameworks.torch.hpu.metrics import metric_global

    for _ in range(10):
        relu_at(5)
    assert dict(metric_global("graph_compilation").stats())["TotalNumber"] == 1
    cache = metric_global("recipe_cache").stats()
    assert [name for name, _ in cache] == ["TotalHit", "RecipeHit", "TotalMiss", "RecipeMiss"]
    totals = dict(cache)
    assert (totals["TotalHit"], totals["TotalMiss"]) == (9, 1)
    assert list(totals["RecipeHit"].values()) == [9] and totals["RecipeHit"].keys() == totals["RecipeMiss"].keys()


@simulated(PT_HPU_METRICS_GC_DETAILS="1", SIMULATED_GAUDI_COMPILE_SECONDS="0.01")
def test_compilations_tell_their_microseconds_and_recipes() -> None:
    from habana_frameworks.torch.hpu.metrics import metric_global

    relu_at(1)
    relu_at(2)
    metric = metric_global("graph_compilation")
    stats = dict(metric.stats())
    assert isinstance(stats["TotalTime"], int) and stats["TotalTime"] >= 20_000
    assert stats["AvgTime"] == stats["TotalTime"] / 2
    assert sum(time for _, time in stats["recipe"]) == stats["TotalTime"]
    metric.reset()
    assert dict(metric.stats())["TotalNumber"] == 0 and len(dict(metric.stats())["recipe"]) == 2


@simulated()
def test_local_contexts_count_what_happens_inside_them() -> None:
    from habana_frameworks.torch.hpu.metrics import metric_localcontext

    relu_at(1)
    with metric_localcontext("graph_compilation") as outer:
        relu_at(2)
        with metric_localcontext("graph_compilation") as inner:
            relu_at(3)
        relu_at(4)
    relu_at(5)
    assert [dict(metric.stats())["TotalNumber"] for metric in (outer, inner)] == [3, 1]


@simulated()
def test_changes_and_events_reach_their_listeners() -> None:
    from habana_frameworks.torch.hpu.metrics import metric_global
    from habana_frameworks.torch.utils.event_dispatcher import EventDispatcher, EventId

    changes: list[tuple[str, object]] = []
    events: list[dict[str, str]] = []
    metric_global("graph_compilation").on_metric_change(lambda time, name, stats: changes.append((name, dict(stats))))
    dispatcher = EventDispatcher.instance()
    handle = dispatcher.subscribe(EventId.GRAPH_COMPILATION, lambda time, values: events.append(dict(values)))
    relu_at(1)
    dispatcher.unsubscribe(handle)
    relu_at(2)
    assert [name for name, _ in changes] == ["graph_compilation"] * 2
    assert len(events) == 1 and int(events[0]["duration"]) >= 0 and isinstance(events[0]["recipe"], str)
