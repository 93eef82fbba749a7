"""A worker answers its requests also where the device cannot say how it is."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

from lseg_serve.handler.responses import ServerInfo
from lseg_serve.model import LSeg
from lseg_serve.segmenter import Config, GraphCounts, Segmenter, StaticImageSizeParams
from lseg_serve.segmenter.devices import CpuDevice, DeviceMemory
from tests.support.pictures import encoded, noise

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ts leaves files open
    import ts
    from ts.context import Context, RequestProcessor
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

    from lseg_serve.handler.lseg_handler import LSegHandler
    from lseg_serve.handler.metrics import DeviceMetrics
    from lseg_serve.handler.watching.watch import Watch

    STORE = MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))

CONFIG = Config(device="cpu", static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1),), short_sizes=(32,)))


class SilentDevice(CpuDevice):
    """A CPU that says nothing of itself, as a card whose driver hangs."""

    def graph_counts(self) -> GraphCounts | None:
        raise KeyError("TotalNumber")

    def memory(self) -> DeviceMemory | None:
        raise RuntimeError("the driver does not answer")


@pytest.fixture
def worker(small_net: LSeg) -> LSegHandler:
    segmenter = Segmenter(small_net, config=CONFIG, device=SilentDevice(), label_set=("wall", "floor"))
    handler = LSegHandler()
    handler.segmenter = segmenter
    handler.server = ServerInfo("lseg", "1.0", "cpu", 1_000_000)
    handler.metrics = DeviceMetrics(segmenter)
    return handler


def _handled(worker: LSegHandler, rows: Sequence[dict[str, object]], headers: Sequence[dict[str, str]]) -> list[int]:
    """The statuses of a batch, by TorchServe's own context."""
    context = Context("lseg", None, None, len(rows), None, "0.12.0", metrics=STORE)
    context.request_processor = [RequestProcessor(own) for own in headers]
    STORE.set_request_ids(dict(enumerate("abc")))
    bodies = worker.handle(list(rows), context)
    assert len(bodies) == len(rows)
    return [context.get_response_status(index)[0] for index in range(len(rows))]


def test_metrics_that_fail_cost_no_response_and_are_logged_once(
    worker: LSegHandler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    row: dict[str, object] = {"image": encoded(noise(20, 30))}
    for _ in range(3):
        assert _handled(worker, [row, row], [{"Host": "x"}, {"Host": "x"}]) == [200, 200]
    messages = [record.message for record in caplog.records if "cannot be reported" in record.message]
    assert sorted(messages) == [f"Metrics of {what} cannot be reported (logged once)" for what in ("graphs", "memory")]


def test_a_description_that_fails_costs_the_batch_nothing(worker: LSegHandler) -> None:
    row: dict[str, object] = {"image": encoded(noise(20, 30))}
    statuses = _handled(worker, [row, {}, row], [{"Host": "x"}, {"describe": "True"}, {"Host": "x"}])
    assert statuses == [200, 500, 200]


def test_each_request_for_a_mask_has_one_line(
    worker: LSegHandler, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSEG_LOGS", "json")
    caplog.set_level(logging.INFO)
    assert worker.segmenter is not None
    worker.watch = Watch(worker.segmenter, 4, STORE)
    row: dict[str, object] = {"image": encoded(noise(20, 30))}
    rows: list[dict[str, object]] = [row, {}, {"image": b"hello"}]
    headers = [{"X-Request-Id": "mine"}, {"describe": "True"}, {"Host": "x"}]
    assert _handled(worker, rows, headers) == [200, 500, 415]
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("request_log")]
    found = [json.loads(line) for line in lines]
    assert [(one["status"], one["batch"]) for one in found] == [(200, 3), (415, 3)]
    assert found[0]["client_request_id"] == "mine"
