"""The commands `python -m web` and `lseg web`, from their start to Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from lseg_serve.server import Addresses, LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import free_addresses
from tests.web.conftest import endpoint_of

SECONDS = 240
PHOTO = (PROJECT / "demo" / "photos" / "cat.jpg").read_bytes()


@contextmanager
def _web(*options: str, addresses: Addresses | None = None, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The command, running; ended at the end."""
    variables |= (addresses or free_addresses()).environment()
    environment = {**os.environ, **variables, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT / "src")}
    command = [sys.executable, "-m", "web", *options]
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    """The page's address, as it is printed."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        found = re.search(r"the page is at (http://\S+)/ ", line)
        if found:
            return found[1]
    raise AssertionError("".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_starts_what_is_missing_and_ends_it_again(
    number: signal.Signals, bundled_archive: Path, tmp_path: Path
) -> None:
    """Once the archive is missing as well as the server, once the server alone."""
    store = tmp_path / "store" if number == signal.SIGINT else bundled_archive.parent
    addresses = free_addresses()
    options = ["--port", "0", "--model-store", str(store), "--run-folder", str(tmp_path / "run")]
    with _web(*options, addresses=addresses) as process:
        url = _address(process)
        assert (store / "lseg.mar").is_file()
        (model,) = requests.get(f"{url}/api/models", timeout=60).json()["models"]
        assert (model["id"], model["state"]) == ("lseg", "ready")
        answer = requests.post(f"{url}/api/models/lseg/segment", files={"image": PHOTO}, timeout=60)
        assert answer.headers["content-type"] == "image/png"
        started = psutil.Process(process.pid).children(recursive=True)
        java = LocalServer(tmp_path / "run", addresses).process()
        assert java is not None
        process.send_signal(number)
        assert process.wait(SECONDS) == 0
    _, alive = psutil.wait_procs({*started, java}, timeout=10)
    assert not alive
    assert not addresses.inference.is_taken()


def test_a_server_that_runs_is_used_and_goes_on(endpoint: LocalServer, tmp_path: Path) -> None:
    options = ["--port", "0", "--run-folder", str(tmp_path)]
    with _web(*options, addresses=endpoint.addresses, TS_MAX_REQUEST_SIZE="90000000") as process:
        url = _address(process)
        (model,) = requests.get(f"{url}/api/models", timeout=60).json()["models"]
        assert model["description"]["limits"]["max_request_bytes"] == 90_000_000
        assert requests.post(f"{url}/api/models/lseg/segment", files={"image": PHOTO}, timeout=60).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    assert endpoint.process() is not None
    assert endpoint.workers("lseg")


def test_servers_are_named_by_options(endpoint: LocalServer) -> None:
    one, other = (endpoint_of(endpoint, name) for name in ("cpu", "hpu"))
    options = [f"--server={each.name}={each.inference},{each.management}" for each in (one, other)]
    with _web("--port", "0", *options) as process:
        models = requests.get(f"{_address(process)}/api/models", timeout=60).json()["models"]
    assert [model["id"] for model in models] == ["cpu/lseg", "hpu/lseg"]


def test_with_json_its_data_and_its_errors_are_json(endpoint: LocalServer) -> None:
    one = endpoint_of(endpoint, "cpu")
    command = [sys.executable, "-m", "lseg_serve.cli", "web", "--json"]
    options = ["--port", "0", f"--server={one.name}={one.inference},{one.management}"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    with subprocess.Popen([*command, *options], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        assert document["servers"] == [asdict(one)]
        second = [*command, "--port", str(urlsplit(document["url"]).port)]
        refused = subprocess.run(second, env=environment, capture_output=True, text=True, check=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    error = json.loads(refused.stderr)["error"]
    assert (refused.returncode, refused.stdout, error["code"], error["type"]) == (3, "", 3, "refused")


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with _web("--port", str(port), "--model-store", str(tmp_path), "--run-folder", str(tmp_path)) as process:
            assert process.wait(SECONDS) == 3
            assert process.stdout is not None
            assert f"page not served: 127.0.0.1:{port} cannot be listened on" in process.stdout.read()
    assert not list(tmp_path.iterdir())


def test_an_interrupted_start_leaves_nothing(bundled_archive: Path, tmp_path: Path) -> None:
    addresses = free_addresses()
    run_folder = tmp_path / "run"
    options = ["--port", "0", "--model-store", str(bundled_archive.parent), "--run-folder", str(run_folder)]
    with _web(*options, addresses=addresses) as process:
        deadline = time.monotonic() + SECONDS
        while not addresses.management.is_taken() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
    assert LocalServer(run_folder, addresses).process() is None
    assert not addresses.inference.is_taken()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--server=http://127.0.0.1:8080", "names no server; accepted: NAME=URL"),
        ("--port=99999", "is not a port; accepted: 0 to 65535"),
        ("--port=x", "is not a port"),
        ("--timeout=0", "is not a time; accepted"),
        ("--timeout=nan", "is not a time; accepted"),
    ],
)
def test_an_option_that_is_not_accepted_is_named(option: str, words: str) -> None:
    with _web(option) as process:
        assert process.wait(SECONDS) == 2
        assert process.stdout is not None
        assert words in process.stdout.read()


def test_a_missing_extra_is_named() -> None:
    """The command where uvicorn cannot be found."""
    program = (
        "import importlib.machinery, runpy, sys\n"
        "class Without(importlib.machinery.PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        return None if name.partition('.')[0] == 'uvicorn' else super().find_spec(name, path, target)\n"
        "sys.meta_path[:] = [Without if one is importlib.machinery.PathFinder else one for one in sys.meta_path]\n"
        "sys.argv = ['web', '--host', '203.0.113.1']\n"
        "runpy.run_module('web', run_name='__main__')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "page not served: without uvicorn; install the extra" in run.stderr
