"""TorchServe is told of every compilation, cache hit and fallback once, and the log of those that held up requests."""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lseg_serve.model import LSeg
from lseg_serve.segmenter import Config, GraphCounts, Segmenter
from lseg_serve.segmenter.devices import CpuDevice, DeviceMemory

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ts leaves its version file open
    import ts
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

    from lseg_serve.handler.metrics import DeviceMetrics

CONFIG = Config(device="cpu")


def _torchserves_store() -> MetricsCacheYamlImpl:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ts leaves this file open, too
        return MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))


class CountingDevice(CpuDevice):
    """A CPU that reports the counts and the memory that a test gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: GraphCounts | None = GraphCounts()
        self.own_memory: DeviceMemory | None = None
        self.broken: set[str] = set()

    def graph_counts(self) -> GraphCounts | None:
        if "graphs" in self.broken:
            raise KeyError("TotalNumber")
        return self.counts

    def memory(self) -> DeviceMemory | None:
        if "memory" in self.broken:
            raise RuntimeError("the driver does not answer")
        return self.own_memory


@dataclass
class Worker:
    """A device, what reports its metrics, and TorchServe's own store of metrics, which writes them to its log."""

    device: CountingDevice
    metrics: DeviceMetrics
    caplog: pytest.LogCaptureFixture
    store: MetricsCacheYamlImpl = field(default_factory=_torchserves_store)

    def report(self) -> dict[str, float]:
        """The metrics that one report gives TorchServe: name -> value."""
        self.caplog.clear()
        self.store.set_request_ids({0: "a-request"})
        self.metrics.report(self.store)
        lines = re.findall(r"\[METRICS\](\w+)\.\w+:([\d.]+)\|#([^|]*)\|", self.caplog.text)
        assert all("Device:cpu" in dimensions for _, _, dimensions in lines)
        return {name: float(value) for name, value, _ in lines}

    def warnings(self) -> list[str]:
        """What the last report warned of."""
        return [record.message for record in self.caplog.records if record.name == "lseg_serve.handler.metrics"]


@pytest.fixture
def worker(small_net: LSeg, caplog: pytest.LogCaptureFixture) -> Worker:
    """A worker whose device has compiled 16 graphs while it was warmed up."""
    caplog.set_level(logging.INFO)
    device = CountingDevice()
    segmenter = Segmenter(small_net, config=CONFIG, device=device)
    device.counts = GraphCounts(compilations=16, cache_hits=3, fallbacks=1)
    return Worker(device, DeviceMetrics(segmenter), caplog)


COUNTERS = ("LSegGraphCompilations", "LSegRecipeCacheHits", "LSegCpuFallbacks")
LATE = "LSegLateGraphCompilations"


def test_counts_are_reported_as_the_difference_since_the_last_batch(worker: Worker) -> None:
    """TorchServe adds up what it is given, so that a count reported twice would be counted twice."""
    reports = []
    for counts in (GraphCounts(16, 3, 1), GraphCounts(16, 8, 1), GraphCounts(18, 20, 4), GraphCounts(18, 20, 4)):
        worker.device.counts = counts
        report = worker.report()
        reports.append(tuple(report[name] for name in COUNTERS))
    assert reports == [(16, 3, 1), (0, 5, 0), (2, 12, 3), (0, 0, 0)]


def test_compilations_after_warm_up_are_warned_of_once(worker: Worker) -> None:
    warned, late = [], []
    for compilations in (16, 18, 18, 19):
        worker.device.counts = GraphCounts(compilations)
        late.append(worker.report()[LATE])
        warned.append(worker.warnings())
    assert late == [0, 2, 0, 1]
    assert warned == [
        [],
        ["2 graphs were compiled while requests waited"],
        [],
        ["1 graphs were compiled while requests waited"],
    ]


def test_the_first_batch_after_warm_up_may_compile_too(worker: Worker) -> None:
    worker.device.counts = GraphCounts(19)
    assert worker.report()["LSegGraphCompilations"] == 19
    assert worker.warnings() == ["3 graphs were compiled while requests waited"]


def test_memory_is_reported_in_megabytes(worker: Worker) -> None:
    worker.device.own_memory = DeviceMemory(used=1_500_000_000, free=2_499_600_000)
    report = worker.report()
    assert (report["LSegDeviceMemoryUsed"], report["LSegDeviceMemoryFree"]) == (1500, 2500)


def test_a_device_in_place_of_another_says_so(worker: Worker) -> None:
    worker.device.counts = None
    assert worker.report() == {}
    worker.device.instead_of = "hpu"
    assert worker.report() == {"LSegDeviceFallback": 1}


def test_a_figure_that_cannot_be_had_costs_no_other_and_is_logged_once(worker: Worker) -> None:
    worker.device.own_memory = DeviceMemory(used=1_000_000, free=2_000_000)
    worker.device.broken = {"memory"}
    assert set(worker.report()) == {*COUNTERS, LATE, "LSegColdGraphs"}
    assert worker.warnings() == ["Metrics of memory cannot be reported (logged once)"]
    worker.device.broken = {"graphs", "memory"}
    assert worker.report() == {}
    assert worker.warnings() == ["Metrics of graphs cannot be reported (logged once)"]
    assert worker.report() == {}
    assert worker.warnings() == []
    worker.device.broken = set()
    assert worker.report()["LSegDeviceMemoryFree"] == 2


def test_a_device_that_cannot_count_when_the_worker_starts_stops_nothing(
    small_net: LSeg, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    device = CountingDevice()
    device.broken = {"graphs"}
    worker = Worker(device, DeviceMetrics(Segmenter(small_net, config=CONFIG, device=device)), caplog)
    device.broken = set()
    device.counts = GraphCounts(16)
    assert worker.report()["LSegGraphCompilations"] == 16
    assert worker.warnings() == [], "what was compiled before is not known, and not warned of"


def test_a_count_is_reported_once_also_where_a_report_breaks_off(worker: Worker) -> None:
    """TorchServe adds up what it is given; here its store refuses the second of three counters, once."""

    class Refusing:
        def __init__(self) -> None:
            self.refused = False
            self.given: dict[str, int] = {}

        def add_counter(self, name: str, value: int, **options: object) -> None:
            if name == COUNTERS[1] and not self.refused:
                self.refused = True
                raise ValueError("the store is full")
            self.given[name] = self.given.get(name, 0) + value

        def add_metric(self, *arguments: object, **options: object) -> None:
            pass

    store = Refusing()
    for _ in range(3):
        worker.metrics.report(store)
    assert [store.given[name] for name in COUNTERS] == [16, 3, 1]
