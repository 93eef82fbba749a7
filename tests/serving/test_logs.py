"""The server's logs: whatever clients send, an event is one short line, and old lines make room for new ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lseg_serve.server import LocalServer
from tests.serving.conftest import running
from tests.support.waiting import eventually

PATIENCE = 60
LINE = 4300  # characters: 4000 of text, and date, level, thread and logger
START = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3} ")


@pytest.fixture
def fresh(archive: Path, tmp_path: Path) -> Iterator[LocalServer]:
    with running(archive, tmp_path / "run") as one:
        yield one


def _bytes(server: LocalServer) -> int:
    return sum(path.stat().st_size for path in server.logs.iterdir())


def _lines(server: LocalServer) -> list[str]:
    logs = [path for path in server.logs.iterdir() if path.name != "console.log"]
    return [line for path in logs for line in path.read_bytes().decode().split("\n") if line]


def test_a_client_cannot_write_its_upload_into_the_log(fresh: LocalServer) -> None:
    """TorchServe quotes a form that it cannot decode, whole. Its own configuration logs that twice."""
    url = f"{fresh.addresses.inference_url}/predictions/lseg"
    form = b"labels=" + b"A" * 5_000_000 + b"%zz"
    before = _bytes(fresh)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(10):
        with requests.post(url, form, headers=headers, timeout=60, stream=True) as answer:  # it may break off
            assert answer.status_code >= 400
    assert eventually(lambda: sum("AAAA" in line for line in _lines(fresh)) >= 10, PATIENCE), "it is logged, but cut"
    assert _bytes(fresh) - before < 100_000
    assert max(map(len, _lines(fresh))) < LINE


def test_a_client_cannot_forge_a_line(fresh: LocalServer) -> None:
    paths = ["predictions/lseg/1.0/x%0AForged%20{}", "predictions/x%0D%0AForged%20{}", "Forged%0AForged%20{}%1B%5B31m"]
    form = "labels=%zz\nForged\r\nForged\x1b[31m\u2028Forged\u0085Forged"
    for path in paths:
        requests.get(f"{fresh.addresses.inference_url}/{path}", timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    requests.post(f"{fresh.addresses.inference_url}/predictions/lseg", form.encode(), headers=headers, timeout=60)
    assert eventually(lambda: sum("Forged" in line for line in _lines(fresh)) >= 4, PATIENCE)
    for line in _lines(fresh):
        assert START.match(line), line
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line.rstrip("\n")), line


def test_a_request_is_a_line_in_one_log_and_its_metrics_arrive(fresh: LocalServer, photo: bytes) -> None:
    url = f"{fresh.addresses.inference_url}/predictions/lseg"
    assert requests.post(url, files={"image": photo}, timeout=60).ok
    console, before = (fresh.logs / "console.log").stat().st_size, _bytes(fresh)
    for _ in range(20):
        assert requests.post(url, files={"image": photo}, timeout=60).ok
    logged = fresh.logs / "access_log.log"
    assert eventually(lambda: logged.read_text().count("POST /predictions/lseg") >= 21, PATIENCE)
    assert _bytes(fresh) - before < 20 * 1000
    assert (fresh.logs / "console.log").stat().st_size == console
    metrics = requests.get(f"{fresh.addresses.metrics.url}/metrics", timeout=60).text
    assert re.search(r"^PredictionTime\{", metrics, re.MULTILINE), "it travels as a line of the worker"


def test_full_logs_make_room(fresh: LocalServer) -> None:
    with requests.Session() as session:
        for _ in range(3000):
            session.get(f"{fresh.addresses.inference_url}/ping?{'x' * 3900}", timeout=60)
    older = fresh.logs / "access_log.1.log"
    assert eventually(older.exists, PATIENCE)
    assert all(path.stat().st_size < 10.1 * 2**20 for path in fresh.logs.iterdir())
