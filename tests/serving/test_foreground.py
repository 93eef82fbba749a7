"""`python -m server run`: in the foreground, as a container runs it, and to its end without cutting anyone off."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from lseg_serve.server import Addresses, LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import free_addresses
from tests.serving.test_start import tiny_archive
from tests.support.waiting import eventually

PATIENCE = 120  # seconds for anything that only takes a busy machine longer
# Answers after as many seconds as the body says.
SLOW = """
import time

def handle(data, context):
    for request in data or []:
        time.sleep(float(request["body"]))
    return ["here"] * len(data or [])
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Running:
    """A server in the foreground."""

    process: subprocess.Popen[str]
    addresses: Addresses
    health: str
    folder: Path

    def ask(self, seconds: float) -> requests.Response:
        url = f"{self.addresses.inference_url}/predictions/lseg"
        return requests.post(url, data=str(seconds), headers={"Content-Type": "text/plain"}, timeout=PATIENCE)

    def ready(self) -> tuple[int, str]:
        answer = requests.get(f"{self.health}/ready", timeout=30)
        return answer.status_code, answer.json()["reason"]

    def end(self) -> tuple[int, str]:
        """Its exit status and what it said."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors

    def left(self) -> bool:
        """Whether anything of it still runs."""
        server = LocalServer(self.folder / "run")
        return server.process() is not None or server.stop()


@contextmanager
def foreground(folder: Path, *options: str, handler: str = SLOW) -> Iterator[Running]:
    """A server whose start has begun; nothing of it is left at the end."""
    addresses = free_addresses()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        health = f"127.0.0.1:{free.getsockname()[1]}"
    tiny_archive(folder / "store", handler)
    command = [sys.executable, "-m", "server", "--run-folder", str(folder / "run"), "run", "--health", health]
    command += ["--model-store", str(folder / "store"), *options]
    for name, address in addresses.named().items():
        command += [f"--{name.replace('_', '-')}-port", str(address.port)]
    with (folder / "console").open("w") as console:
        process = subprocess.Popen(command, cwd=PROJECT, stdout=console, stderr=subprocess.PIPE, text=True)
    try:
        yield Running(process, addresses, f"http://{health}", folder)
    finally:
        process.kill()
        process.communicate()
        LocalServer(folder / "run").stop()


def _is_ready(server: Running) -> bool:
    try:
        return server.ready()[0] == 200
    except requests.ConnectionError:
        assert server.process.poll() is None, server.process.communicate()[1]
        return False


def _in_flight(server: Running, seconds: float, count: int) -> list[Future[requests.Response]]:
    """Requests that a single worker answers one after the other; the last waits for all."""
    pool = ThreadPoolExecutor(count)
    futures = [pool.submit(server.ask, seconds) for _ in range(count)]
    pool.shutdown(wait=False)
    time.sleep(min(seconds, 1))
    return futures


def test_told_to_end_it_is_not_ready_answers_who_waits_and_ends(tmp_path: Path) -> None:
    with foreground(tmp_path, "--leave-seconds", "1") as server:
        assert eventually(lambda: _is_ready(server), PATIENCE)
        with requests.Session() as idle:  # a connection that a client keeps is no reason to stay
            assert idle.post(f"{server.addresses.inference_url}/predictions/lseg", data=b"0.1").text == "here"
            futures = _in_flight(server, seconds=3, count=3)
            server.process.send_signal(signal.SIGTERM)
            assert eventually(lambda: server.ready()[0] == 503, 1), "at once, while answers are due"
            assert "told to end" in server.ready()[1]
            assert server.ask(0).text == "here", "who comes late, from a balancer that has not seen it yet, is served"
            assert [future.result().text for future in futures] == ["here"] * 3
            status, errors = server.end()
        assert status == 0, errors
        assert "every request is answered" in errors
        assert not server.left()
        assert "Loading initial models" in (tmp_path / "console").read_text(), "it logs to the console"
        assert not list((tmp_path / "run" / "logs").glob("*_log.log"))


def test_the_patience_has_an_end(tmp_path: Path) -> None:
    with foreground(tmp_path, "--leave-seconds", "0", "--answer-seconds", "1") as server:
        assert eventually(lambda: _is_ready(server), PATIENCE)
        futures = _in_flight(server, seconds=30, count=2)
        server.process.send_signal(signal.SIGTERM)
        status, errors = server.end()
        assert status == 5
        assert "2 requests are cut off" in errors
        assert all(future.exception() is not None or future.result().status_code >= 500 for future in futures)
        assert not server.left()


def test_a_torchserve_that_ends_by_itself_ends_the_whole(tmp_path: Path) -> None:
    """With a status that lets a container's supervisor start it anew."""
    with foreground(tmp_path) as server:
        assert eventually(lambda: _is_ready(server), PATIENCE)
        assert eventually(lambda: "TorchServe answers" in requests.get(f"{server.health}/live", timeout=30).text, 30)
        java = LocalServer(tmp_path / "run").process()
        assert java is not None
        java.kill()
        status, errors = server.end()
        assert status == 1
        assert "TorchServe has ended without having been told to" in errors
        assert not server.left()


def test_a_model_that_does_not_load_ends_the_whole(tmp_path: Path) -> None:
    with foreground(tmp_path, handler="raise OSError('no such weights')") as server:
        status, errors = server.end()
        assert status == 1
        assert "the model lseg did not load; the log above says why" in errors
        assert "OSError: no such weights" in (tmp_path / "console").read_text()
        assert not server.left()


def test_told_to_end_while_it_loads_it_ends(tmp_path: Path) -> None:
    with foreground(tmp_path, handler="import time\ntime.sleep(60)\n" + SLOW) as server:
        assert eventually(lambda: LocalServer(tmp_path / "run").process() is not None, PATIENCE)
        assert requests.get(f"{server.health}/ready", timeout=30).status_code == 503
        assert requests.get(f"{server.health}/live", timeout=30).status_code == 200, "it is no reason to restart it"
        assert requests.get(f"{server.health}/models", timeout=30).status_code == 404
        java = psutil.Process(LocalServer(tmp_path / "run").process().pid)  # type: ignore[union-attr]
        server.process.send_signal(signal.SIGTERM)
        status, errors = server.end()
        assert status == 130
        assert "the server is stopped" in errors
        assert not java.is_running()
        assert not server.left()
