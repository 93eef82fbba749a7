"""`python -m server start`: which addresses it takes, what it says where it fails, and what it finds left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
import requests

from lseg_serve.server import Addresses, LocalServer, ServerError, processes
from lseg_serve.server.addresses import port_option
from tests.conftest import PROJECT
from tests.serving.conftest import free_addresses
from tests.support.waiting import eventually

PATIENCE = 120  # seconds for anything that only takes a busy machine longer
# A handler without a network, so that its server is up in seconds.
READY = """
def handle(data, context):
    return ["here"] * len(data or [])
"""


def tiny_archive(store: Path, handler: str = READY) -> Path:
    store.mkdir(exist_ok=True)
    manifest = {
        "runtime": "python",
        "model": {"modelName": "lseg", "handler": "tiny_handler.py", "modelVersion": "1.0"},
        "archiverVersion": "0.12.0",
    }
    with zipfile.ZipFile(store / "lseg.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr("tiny_handler.py", handler)
        archive.writestr("notes.txt", "a line of notes\n" * 100)
    return store / "lseg.mar"


def _command(run_folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "server", "--run-folder", str(run_folder), *arguments]


def _options(addresses: Addresses, *names: str) -> list[str]:
    named = addresses.named()
    return [word for name in names or named for word in (port_option(name), str(named[name].port))]


def _start(run_folder: Path, store: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = _command(run_folder, "start", "--model-store", str(store), *options)
    return subprocess.run(
        command, cwd=PROJECT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@contextmanager
def _stopped_at_the_end(run_folder: Path) -> Iterator[LocalServer]:
    server = LocalServer(run_folder)
    try:
        yield server
    finally:
        server.stop()


def _answers(addresses: Addresses) -> bool:
    return requests.post(f"{addresses.inference_url}/predictions/lseg", data=b"x", timeout=60).text == "here"


def test_addresses_come_from_options_then_the_environment_then_the_file(tmp_path: Path) -> None:
    tiny_archive(tmp_path / "store")
    addresses = free_addresses()
    (tmp_path / "own.properties").write_text(
        f"enable_envvars_config=true\ndisable_token_authorization=true\nmetrics_address={addresses.metrics.url}\n"
        f"default_workers_per_model=1\nmanagement_address=http://127.0.0.1:1\ninference_address=http://127.0.0.1:2\n"
        f"grpc_inference_port={addresses.grpc_inference.port}\ngrpc_management_port={addresses.grpc_management.port}\n"
    )
    environment = {
        "TS_CONFIG_FILE": str(tmp_path / "own.properties"),
        "TS_MANAGEMENT_ADDRESS": addresses.management_url,
        "TS_INFERENCE_ADDRESS": "http://127.0.0.1:3",
    }
    with _stopped_at_the_end(tmp_path / "run"):
        run = _start(tmp_path / "run", tmp_path / "store", *_options(addresses, "inference"), **environment)
        assert run.returncode == 0, run.stderr
        assert f"serving {addresses.inference_url}/predictions/lseg" in run.stdout
        assert _answers(addresses)
        for address in addresses.named().values():
            assert address.is_taken(), address


class _Other(HTTPServer):
    """A program that holds a port and does not listen yet: then the port counts as free."""

    allow_reuse_address = False  # or TorchServe could bind the port as well
    reply = (404, b"")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Send the reply to whatever is asked."""
            assert isinstance(self.server, _Other)
            status, body = self.server.reply
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), self.Handler, bind_and_activate=False)
        self.server_bind()

    @contextmanager
    def listening(self) -> Iterator[None]:
        self.server_activate()
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()


READY_WORKER = [{"modelName": "lseg", "workers": [{"id": "9000", "status": "READY", "pid": 1}]}]


@pytest.mark.parametrize("reply", [(404, b"{}"), (200, json.dumps(READY_WORKER).encode())], ids=["absent", "ready"])
def test_who_takes_the_management_port_meanwhile_is_not_believed(tmp_path: Path, reply: tuple[int, bytes]) -> None:
    """Whether the model is absent or ready there, it is another server's; this one says which port it did not get."""
    tiny_archive(tmp_path / "store")
    addresses = free_addresses()
    with _Other(addresses.management.port) as other, _stopped_at_the_end(tmp_path / "run"):
        other.reply = reply
        server = LocalServer(tmp_path / "run", addresses)
        server.start(tmp_path / "store", ["lseg=lseg.mar"])
        with (
            other.listening(),
            pytest.raises(ServerError, match=f"(?s)has stopped.*Failed to bind.*{addresses.management.port}"),
        ):
            server.wait_until_ready("lseg", PATIENCE)
        assert server.process() is None


HANDLERS = {
    "ValueError: no such colour: mauve": 'raise ValueError("no such colour: mauve")',
    "RuntimeError: the card is gone": 'raise RuntimeError("the card is gone")',
    "ModuleNotFoundError: No module named 'nothing_of_that_name'": "import nothing_of_that_name",
    "MemoryError: all of it": 'raise MemoryError("all of it")',
}


@pytest.mark.parametrize("message", HANDLERS)
def test_a_worker_that_fails_to_load_says_why_in_the_first_line(message: str, tmp_path: Path) -> None:
    tiny_archive(tmp_path / "store", f"def handle(data, context):\n    {HANDLERS[message]}\n{HANDLERS[message]}\n")
    run = _start(tmp_path / "run", tmp_path / "store", *_options(free_addresses()))
    assert run.returncode == 1
    lines = run.stderr.splitlines()
    assert f"python -m server start: error: server not started: the model lseg did not load: {message}" in lines
    assert lines[-1] == f"its whole log: {tmp_path / 'run' / 'logs' / 'model_log.log'}"
    assert LocalServer(tmp_path / "run").process() is None


def test_a_worker_that_dies_without_a_word_is_noticed(tmp_path: Path) -> None:
    tiny_archive(tmp_path / "store", "import os\nos._exit(3)\n")
    run = _start(tmp_path / "run", tmp_path / "store", *_options(free_addresses()))
    assert run.returncode == 1
    assert "server not started: the model lseg did not load" in run.stderr


def test_words_in_the_log_stop_no_start(tmp_path: Path) -> None:
    """A worker takes its time, and a client asks meanwhile for a path that reads like TorchServe's failure."""
    tiny_archive(tmp_path / "store", f"import time\ntime.sleep(3)\n{READY}")
    addresses = free_addresses()
    command = _command(tmp_path / "run", "start", "--model-store", str(tmp_path / "store"), *_options(addresses))
    with _stopped_at_the_end(tmp_path / "run"), subprocess.Popen(command, cwd=PROJECT) as start:
        assert eventually(addresses.inference.is_taken, PATIENCE)
        for words in ("Load%20model%20failed", "Backend%20worker%20process%20died", "Failed%20to%20load%20model"):
            requests.get(f"{addresses.inference_url}/predictions/lseg/1.0/x%0A{words}", timeout=60)
        assert start.wait(PATIENCE) == 0


def test_a_damaged_archive_is_named_with_the_reason(tmp_path: Path) -> None:
    archive = tiny_archive(tmp_path / "store")
    whole = archive.read_bytes()
    for content, reason in (
        (whole[:-30], "lseg.mar is damaged, or no archive of a model (File is not a zip file)"),
        (whole.replace(b"a line of notes", b"a line of nodes", 1), "the checksum of notes.txt in it is wrong"),
    ):
        archive.write_bytes(content)
        run = _start(tmp_path / "run", tmp_path / "store", *_options(free_addresses()))
        assert run.returncode == 3
        assert reason in run.stderr
        assert "python -m export" in run.stderr
        assert len(run.stderr.splitlines()) == 2, "the second line says where the logs are"
        assert LocalServer(tmp_path / "run").process() is None


def test_a_start_clears_what_a_killed_server_left(tmp_path: Path) -> None:
    tiny_archive(tmp_path / "store")
    addresses, run_folder = free_addresses(), tmp_path / "run"
    server = LocalServer(run_folder, addresses)
    with _stopped_at_the_end(run_folder):
        for _ in range(2):
            server.start(tmp_path / "store", ["lseg=lseg.mar"])
            server.wait_until_ready("lseg", seconds=PATIENCE)
            java = server.process()
            assert java is not None
            assert len(list((run_folder / "tmp" / "models").iterdir())) == 1
            java.kill()
            java.wait(PATIENCE)
            assert eventually(lambda: not addresses.inference.is_taken(), PATIENCE)
        server.stop()
        assert not list((run_folder / "tmp" / "models").iterdir())


def test_stop_returns_when_the_ports_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a server that had to be killed, here because it was suspended. It gets less than a minute to end."""
    monkeypatch.setattr(processes, "_STOP_SECONDS", 3)
    tiny_archive(tmp_path / "store")
    server = LocalServer(tmp_path / "run", free_addresses())
    server.start(tmp_path / "store", ["lseg=lseg.mar"])
    server.wait_until_ready("lseg", seconds=PATIENCE)
    java = server.process()
    assert java is not None
    java.suspend()
    assert server.stop()
    assert not java.is_running()
    assert not any(address.is_taken() for address in server.addresses.named().values())


def test_of_two_starts_at_once_one_says_so(tmp_path: Path) -> None:
    tiny_archive(tmp_path / "store")
    addresses = free_addresses()
    command = _command(tmp_path / "run", "start", "--model-store", str(tmp_path / "store"), *_options(addresses))
    with _stopped_at_the_end(tmp_path / "run"):
        starts = [
            subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        ends = [(start.communicate(timeout=PATIENCE), start.returncode) for start in starts]
        assert sorted(status for _, status in ends) == [0, 3], ends
        (message,) = (errors for (_, errors), status in ends if status)
        assert "another start in" in message
        assert _answers(addresses)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_start_leaves_no_server(number: signal.Signals, tmp_path: Path) -> None:
    tiny_archive(tmp_path / "store", "import time\ntime.sleep(300)\n")
    addresses, server = free_addresses(), LocalServer(tmp_path / "run")
    command = _command(tmp_path / "run", "start", "--model-store", str(tmp_path / "store"), *_options(addresses))
    with (
        _stopped_at_the_end(tmp_path / "run"),
        subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as start,
    ):
        assert eventually(addresses.management.is_taken, PATIENCE)
        java = server.process()
        assert java is not None
        family = [java, *java.children(recursive=True)]
        start.send_signal(number)
        assert start.wait(PATIENCE) == 130
        assert start.stderr is not None
        assert "start interrupted; the server is stopped" in start.stderr.read()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive


def test_a_full_queue_is_answered_with_503(tmp_path: Path) -> None:
    """In words of TorchServe that speak of workers; docs/operations.md explains them."""
    tiny_archive(
        tmp_path / "store", "import time\ndef handle(data, context):\n    time.sleep(3)\n    return ['here']\n"
    )
    server = LocalServer(tmp_path / "run", free_addresses(), environment={"TS_JOB_QUEUE_SIZE": "1"})
    url = f"{server.addresses.inference_url}/predictions/lseg"
    with _stopped_at_the_end(tmp_path / "run"):
        server.start(tmp_path / "store", ["lseg=lseg.mar"])
        server.wait_until_ready("lseg", seconds=PATIENCE)
        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(lambda _: requests.post(url, data=b"x", timeout=60), range(5)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[:2] == [200, 200]
    assert statuses[-1] == 503
    assert all("has no worker to serve inference request" in one.text for one in answers if one.status_code == 503)
