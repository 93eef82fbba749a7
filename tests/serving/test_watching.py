"""What a real server tells of its requests: metrics that a real Prometheus reads, and logs as lines of JSON."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import free_addresses, running
from tests.support.pictures import encoded, noise
from tests.support.waiting import eventually

WATCHING = PROJECT / "deploy" / "watching"
PATIENCE = 60
SECRET = "nobody may read this"
# What only devices other than the CPU report.
DEVICE_ONLY = re.compile(
    r"LSegDeviceMemory|LSegDeviceFallback|LSegLateGraphCompilations|LSegCpuFallbacks|LSegColdGraphs"
)
LINE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def server(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that logs JSON, and has answered nothing yet."""
    with running(archive, tmp_path_factory.mktemp("watched"), LSEG_LOGS="json") as one:
        yield one


def _metrics(server: LocalServer) -> dict[str, float]:
    """The metrics of this project: name, or name and own dimensions -> value."""
    text = requests.get(f"{server.addresses.metrics.url}/metrics", timeout=60).text
    found = {}
    for name, dimensions, value in LINE.findall(text):
        own = [one for one in re.findall(r'(\w+)="([^"]*)"', dimensions) if one[0] not in _ALWAYS]
        found[" ".join([name, *(f"{key}={text}" for key, text in own)])] = float(value)
    return {name: value for name, value in found.items() if name.startswith("LSeg")}


_ALWAYS = ("Device", "ModelName", "Level", "Hostname")


def _ask(server: LocalServer, image: bytes, **headers: str) -> requests.Response:
    """Asked with labels in the form, and in the address, where TorchServe drops them and may still log them."""
    labels = f"{SECRET},other"
    url = f"{server.addresses.inference_url}/predictions/lseg?labels={labels}"
    return requests.post(url, files={"image": image}, data={"labels": labels}, headers=headers, timeout=120)


def test_counters_exist_before_the_first_request(server: LocalServer) -> None:
    assert eventually(lambda: "LSegRequests Status=200 Error=none" in _metrics(server), PATIENCE)
    metrics = _metrics(server)
    assert metrics["LSegRequests Status=507 Error=out_of_memory"] == 0
    assert metrics["LSegStageSeconds_bucket Stage=network le=+Inf"] == 0
    assert not [name for name, value in metrics.items() if value and "Memory" not in name]


def test_a_request_arrives_in_every_metric_that_it_concerns(server: LocalServer) -> None:
    good = _ask(server, encoded(noise(40, 50)))
    assert good.status_code == 200
    assert _ask(server, b"hello").status_code == 415
    assert eventually(lambda: _metrics(server)["LSegRequestSeconds_count"] == 2, PATIENCE), _metrics(server)
    metrics = _metrics(server)
    assert metrics["LSegRequests Status=200 Error=none"] == 1
    assert metrics["LSegRequests Status=415 Error=unsupported_image"] == 1
    for stage, milliseconds in re.findall(r"(\w+);dur=([\d.]+)", good.headers["Server-Timing"]):
        assert metrics[f"LSegStageSeconds_count Stage={stage}"] == 1
        assert metrics[f"LSegStageSeconds_bucket Stage={stage} le=+Inf"] == 1
        assert metrics[f"LSegStageSeconds_sum Stage={stage}"] * 1000 == pytest.approx(float(milliseconds), abs=0.06)
    assert sum(value for name, value in metrics.items() if name.startswith("LSegBucketImages")) == 1
    assert metrics["LSegBatches"] == metrics["LSegBatchSlots"] == 2
    assert metrics["LSegRequestsInFlight Worker=9000"] == 0
    assert metrics["LSegWorkerMemory Worker=9000"] > 100


def _lines(server: LocalServer) -> list[dict[str, Any]]:
    """The log; a line that is no JSON fails the test."""
    return [json.loads(line) for line in (server.logs / "json.log").read_text(encoding="utf-8").split("\n") if line]


def test_a_request_is_one_line_of_json_without_its_labels(server: LocalServer) -> None:
    good = _ask(server, encoded(noise(40, 50, 1)), **{"X-Request-Id": "mine-1"})
    bad = _ask(server, b"hello")
    ids = [answer.headers["x-request-id"] for answer in (good, bad)]

    def found() -> list[dict[str, Any]]:
        return [line for line in _lines(server) if line.get("request_id") in ids]

    assert eventually(lambda: len(found()) == 2, PATIENCE)
    first, second = found()
    assert [first["request_id"], second["request_id"]] == ids
    assert (first["client_request_id"], first["status"], first["labels"]) == ("mine-1", 200, 2)
    for stage, milliseconds in re.findall(r"(\w+);dur=([\d.]+)", good.headers["Server-Timing"]):
        assert first["stages"][stage] == pytest.approx(float(milliseconds), abs=0.06)
    assert (second["status"], second["error"]) == (415, "unsupported_image")
    text = (server.logs / "json.log").read_text(encoding="utf-8")
    assert "nobody" not in text, "neither in lines of requests nor as a query"
    assert eventually(lambda: '"GET /nothing HTTP' in _asked_for_nothing(server), PATIENCE), "TorchServe's own line"
    assert [path.name for path in server.logs.iterdir()].count("access_log.log") == 0


def _asked_for_nothing(server: LocalServer) -> str:
    requests.get(f"{server.addresses.inference_url}/nothing?labels={SECRET}", timeout=60)
    return "\n".join(str(line.get("message")) for line in _lines(server))


def test_metrics_travel_as_lines_that_no_log_repeats(server: LocalServer) -> None:
    assert _ask(server, encoded(noise(40, 50))).ok
    assert eventually(lambda: _metrics(server)["LSegBatches"] >= 1, PATIENCE)
    assert "[METRICS]" not in (server.logs / "json.log").read_text(encoding="utf-8")


@contextmanager
def _prometheus(server: LocalServer, folder: Path) -> Iterator[str]:
    """A real Prometheus with the project's configuration, reading `server` each second; its address."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("there is no prometheus on the PATH (Debian's package prometheus has it)")
    for name in ("rules.yml", "alerts.yml"):
        shutil.copyfile(WATCHING / name, folder / name)
    config = yaml.safe_load((WATCHING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{server.addresses.metrics.port}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_addresses().inference.port
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--storage.tsdb.path={folder / 'data'}"], cwd=folder, stdout=log, stderr=log
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _result(prometheus: str, query: str) -> list[Any]:
    """What a query gives now; none while Prometheus starts."""
    try:
        answer = requests.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=60).json()
    except requests.ConnectionError:
        return []
    assert answer["status"] == "success", (query, answer)
    return list(answer["data"]["result"])


def _queries() -> list[str]:
    """Every query of the dashboard and of the rules, as Grafana and Prometheus would ask them."""
    panels = json.loads((WATCHING / "dashboard.json").read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    found = [query.replace("$__rate_interval", "1m").replace("$instance", ".*") for query in found]
    groups = yaml.safe_load((WATCHING / "rules.yml").read_text())["groups"]
    return found + [rule["expr"] for group in groups for rule in group["rules"]]


def test_every_query_has_data_after_one_request(server: LocalServer, tmp_path: Path) -> None:
    with _prometheus(server, tmp_path) as prometheus:
        assert eventually(lambda: bool(_result(prometheus, "count_over_time(LSegBatches[1m]) > 2")), PATIENCE)
        assert _ask(server, encoded(noise(40, 50, 2))).ok
        assert eventually(lambda: bool(_result(prometheus, "increase(LSegBatches[1m]) > 0")), PATIENCE)
        time.sleep(2)  # TorchServe's own come with another scrape
        queries = [query for query in _queries() if not DEVICE_ONLY.search(query)]
        assert len(queries) > 20
        assert not [query for query in queries if not _result(prometheus, query)]
        answered = _result(prometheus, 'sum(increase(LSegRequests{Status="200"}[1m]))')
        assert float(answered[0]["value"][1]) > 0
        rules = requests.get(f"{prometheus}/api/v1/rules", timeout=60).json()["data"]["groups"]
        assert not [rule["name"] for group in rules for rule in group["rules"] if rule["health"] == "err"]
        assert not [rule["name"] for group in rules for rule in group["rules"] if rule.get("state") == "firing"]
