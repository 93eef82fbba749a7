"""What a worker tells of its requests: figures that add up, a log line and spans, and never an image or a label."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lseg_serve.handler.pipeline import respond
from lseg_serve.handler.responses import ServerInfo
from lseg_serve.handler.watching.records import Record
from lseg_serve.handler.watching.request_log import RequestLog, line_of
from lseg_serve.handler.watching.totals import Totals
from lseg_serve.handler.watching.tracing import Tracing
from lseg_serve.model import LSeg
from lseg_serve.segmenter import Config, Segmenter, StaticImageSizeParams
from tests.conftest import PROJECT
from tests.support.pictures import encoded, noise

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ts leaves files open
    import ts
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

    from lseg_serve.handler.watching.request_metrics import RequestMetrics, worker_number

    STORE = Path(ts.__file__).parent / "configs" / "metrics.yaml"

CONFIG = Config(device="cpu", static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1),), short_sizes=(32,)))
SERVER = ServerInfo("lseg", "1.0", "cpu", 1_000_000)
SECRET = "a label that nobody may read"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = {"image": encoded(noise(20, 30)), "labels": f"{SECRET},wall,floor".encode()}
BAD = {"image": b"hello", "labels": SECRET.encode()}
HEADERS = {"X-Request-Id": "mine-1", "traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def segmenter(small_net: LSeg) -> Segmenter:
    return Segmenter(small_net, config=CONFIG)


def _records(segmenter: Segmenter, *rows: dict[str, bytes]) -> list[Record]:
    """What is known of requests that were answered in one batch."""
    records = [Record.of(f"id-{number}", HEADERS, len(rows)) for number in range(len(rows))]
    respond(segmenter, rows, [HEADERS] * len(rows), SERVER, records)
    return records


class Reports:
    """What TorchServe would have at /metrics after the lines that its own store of metrics printed."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self._caplog = caplog
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ts leaves this file open
            self.store = MetricsCacheYamlImpl(str(STORE))
        self.store.model_name = "lseg"
        self.store.request_ids = "load"  # a text until the first batch, then a dictionary
        self._read = 0
        self.values: dict[str, float] = defaultdict(float)

    def read(self) -> dict[str, float]:
        """name, or name and own dimensions -> value."""
        messages = [record.getMessage() for record in self._caplog.records]
        for message in messages[self._read :]:
            if match := re.match(r"\[METRICS\](\w+)\.\w+:([\d.e-]+)\|#([^|]*)\|#type:(\w+)\|", message):
                name, value, dimensions, kind = match.groups()
                own = [one for one in dimensions.split(",") if one.split(":")[0] not in _ALWAYS]
                assert [one for one in dimensions.split(",") if one not in own] == _EXPECTED
                key = " ".join([name, *own])
                self.values[key] = float(value) + (self.values[key] if kind == "COUNTER" else 0)
        self._read = len(messages)
        return self.values


_ALWAYS = ("Device", "ModelName", "Level")
_EXPECTED = ["Device:cpu", "ModelName:lseg", "Level:Model"]


@pytest.fixture
def reports(caplog: pytest.LogCaptureFixture) -> Reports:
    return Reports(caplog)


def _metrics(segmenter: Segmenter, reports: Reports) -> RequestMetrics:
    """Metrics that are reported when a test says so, and never by their thread."""
    metrics = RequestMetrics(segmenter, 4, reports.store)
    metrics.stop()
    return metrics


def test_a_batch_is_counted_by_what_became_of_it(segmenter: Segmenter, reports: Reports) -> None:
    metrics = _metrics(segmenter, reports)
    metrics.begin(3)
    metrics.end(_records(segmenter, GOOD, BAD, GOOD))
    metrics.report()
    values = reports.read()
    assert values["LSegRequests Status:200 Error:none"] == 2
    assert values["LSegRequests Status:415 Error:unsupported_image"] == 1
    assert (values["LSegBatches"], values["LSegBatchRequests"], values["LSegBatchSlots"]) == (1, 3, 4)
    assert values["LSegRequestSeconds_count"] == 3
    assert values["LSegRequestLabels_sum"] == 3 + 3 + 1
    assert [values[f"LSegRequestLabels_bucket le:{bound}"] for bound in (1, 2, 5, "+Inf")] == [1, 1, 3, 3]
    for stage in ("decode", "text", "network", "mask", "response"):
        assert values[f"LSegStageSeconds_count Stage:{stage}"] == 2
        assert 0 < values[f"LSegStageSeconds_sum Stage:{stage}"] < 60
    assert values["LSegBucketImages Bucket:32x32"] == 2
    assert values["LSegNetworkUsed Kind:label"] == values["LSegNetworkSlots Kind:label"] == 6
    assert values["LSegTextCacheMisses"] == 3, "the three labels, once each"
    assert values["LSegTextCacheHits"] == 4
    assert values["LSegFeatureCacheMisses"] == 2, "one image twice in a batch is computed twice"
    assert values[f"LSegBusySeconds Worker:{worker_number(sys.argv)}"] > 0


def test_embeddings_are_counted_by_their_own_stage(segmenter: Segmenter, reports: Reports) -> None:
    metrics = _metrics(segmenter, reports)
    metrics.begin(1)
    (record,) = _records(segmenter, {"image": encoded(noise(20, 30)), "format": b"embeddings"})
    metrics.end([record])
    metrics.report()
    values = reports.read()
    assert (record.status, record.labels, record.height) == (200, None, 20)
    assert values["LSegStageSeconds_count Stage:embed"] == values["LSegStageSeconds_count Stage:network"] == 1
    assert values["LSegStageSeconds_count Stage:mask"] == 0
    assert [step.name for step in record.steps] == ["parse", "decode", "embed", "response"]


def test_a_report_adds_what_is_new_and_begins_with_zeros(segmenter: Segmenter, reports: Reports) -> None:
    """TorchServe adds up. A counter that is first seen with its first event has no rate."""
    metrics = _metrics(segmenter, reports)
    metrics.report()
    at_first = dict(reports.read())
    assert at_first["LSegRequests Status:507 Error:out_of_memory"] == 0
    assert at_first["LSegStageSeconds_bucket Stage:mask le:0.001"] == 0
    counters = {key for key in at_first if "Memory" not in key}
    assert not [key for key in counters if at_first[key]]
    for number in (1, 2, 3):
        metrics.begin(1)
        metrics.end(_records(segmenter, GOOD))
        metrics.report()
        assert reports.read()["LSegRequests Status:200 Error:none"] == number
        reports.store.request_ids = {0: "an-id", 1: "another"}
    later = {key for key in reports.read() if key not in at_first}
    assert not later, "what is asked for exists from the start"
    assert reports.read()["LSegFeatureCacheHits"] == 2


def test_requests_are_in_flight_until_they_are_answered(segmenter: Segmenter, reports: Reports) -> None:
    metrics = _metrics(segmenter, reports)
    name = f"LSegRequestsInFlight Worker:{worker_number(sys.argv)}"
    metrics.begin(3)
    metrics.report()
    assert reports.read()[name] == 3
    metrics.end([])
    metrics.report()
    assert reports.read()[name] == 0


def test_a_thread_reports_by_itself(segmenter: Segmenter, reports: Reports) -> None:
    metrics = RequestMetrics(segmenter, 1, reports.store)
    metrics.begin(1)
    metrics.end(_records(segmenter, GOOD))
    metrics.stop()
    assert reports.read()["LSegRequests Status:200 Error:none"] == 1, "the last report has everything"


def test_a_report_that_breaks_off_loses_and_doubles_nothing() -> None:
    totals = Totals()
    for name in ("a", "b", "c"):
        totals.add(name, 1)
    given: dict[str, float] = defaultdict(float)
    with pytest.raises(RuntimeError):
        for growth in totals.growth():
            if growth.name == "b":
                raise RuntimeError("the store is full")
            given[growth.name] += growth.value
    totals.add("a", 1)
    for growth in totals.growth():
        given[growth.name] += growth.value
    assert given == {"a": 2, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (["worker.py", "--sock-type", "unix", "--sock-name", "/tmp/.ts.sock.9003"], "9003"),
        (["worker.py", "--sock-type", "tcp", "--port", "9001"], "9001"),
    ],
)
def test_a_worker_has_torchserves_number(arguments: list[str], number: str) -> None:
    assert worker_number(arguments) == number


def test_the_line_of_a_request_has_its_figures_and_no_text_of_it(segmenter: Segmenter) -> None:
    good, bad = _records(segmenter, GOOD, BAD)
    document = json.loads(line_of(good))
    assert document["request_id"] == "id-0"
    assert document["client_request_id"] == "mine-1"
    assert (document["status"], document["labels"], document["batch"]) == (200, 3, 2)
    assert (document["height"], document["width"], document["bucket"]) == (20, 30, "32x32")
    assert list(document["stages"]) == ["decode", "text", "network", "mask", "response"]
    assert document["milliseconds"] > 0
    document = json.loads(line_of(bad))
    assert (document["status"], document["error"]) == (415, "unsupported_image")
    assert not [record for record in (good, bad) if "nobody" in line_of(record)]


def test_an_id_that_is_no_id_is_left_out() -> None:
    for value, kept in (("a-b:c/1", True), ("", False), ("x" * 129, False), ('"}\n{"', False), ("the cat", False)):
        assert (Record.of("1", {"x-request-id": value}, 1).client_id is not None) == kept


def test_lines_are_written_only_where_they_are_asked_for() -> None:
    assert RequestLog.configured({}) is None
    assert RequestLog.configured({"LSEG_LOGS": "text"}) is None
    assert RequestLog.configured({"LSEG_LOGS": "json"}) is not None


def test_nothing_of_opentelemetry_is_imported_without_a_collector() -> None:
    script = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "from lseg_serve.handler import lseg_handler\n"
        "from lseg_serve.handler.watching.tracing import Tracing\n"
        "assert Tracing.configured({}) is None\n"
        "assert Tracing.configured({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x', 'OTEL_SDK_DISABLED': 'true'}) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


class Collector(HTTPServer):
    """Takes what an OTLP exporter sends over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.bodies: list[bytes] = []


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_spans_reach_a_collector_below_the_clients_span(
    segmenter: Segmenter, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "masks")
    tracing = Tracing.configured()
    assert tracing is not None
    good, bad = _records(segmenter, GOOD, BAD)
    for record in (good, bad):
        tracing.write(record)
    tracing.close()
    assert not [body for body in collector.bodies if b"nobody" in body]
    resources = [one for body in collector.bodies for one in ExportTraceServiceRequest.FromString(body).resource_spans]
    names = {one.key: one.value.string_value for one in resources[0].resource.attributes}
    assert names["service.name"] == "masks"
    spans = [span for one in resources for scope in one.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    own = [span for span in spans if span.name == "lseg.request"]
    assert [span.parent_span_id.hex() for span in own] == [PARENT, PARENT]
    steps = [[span.name for span in spans if span.parent_span_id == one.span_id] for one in own]
    assert steps == [
        ["lseg.parse", "lseg.text", "lseg.decode", "lseg.segment", "lseg.response"],
        ["lseg.parse", "lseg.text", "lseg.decode"],
    ]
    for one in own:
        within = [span for span in spans if span.parent_span_id == one.span_id]
        assert all(one.start_time_unix_nano <= span.start_time_unix_nano for span in within)
        assert all(span.end_time_unix_nano <= one.end_time_unix_nano for span in within)
    attributes = {one.key: one.value for one in own[0].attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["lseg.seconds.network"].double_value > 0
