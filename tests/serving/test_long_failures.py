"""Faults of the whole server: Java killed, and a disk that is full. `make test-faults` runs them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from lseg_serve.bench.clients import Endpoint, Question
from lseg_serve.server import LocalServer, ServerError
from tests.conftest import PROJECT
from tests.serving.conftest import free_addresses, running
from tests.support.under_load import (
    PATIENCE,
    assert_clean,
    assert_no_orphan,
    only_worker,
    questions,
    seconds_until_back,
    under_load,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.faults

DISK = 96_000_000  # bytes; a run takes less than half of it


@pytest.fixture(scope="module")
def asked(archive: Path) -> list[Question]:
    """Pictures and their masks."""
    return questions(archive)


def _endpoint(server: LocalServer) -> Endpoint:
    return Endpoint(f"{server.addresses.inference_url}/predictions/lseg")


class _Supervised:
    """`python -m server run`, started again whenever it ends by itself, as a container's restart policy does."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self.server = LocalServer(folder / "run", free_addresses())
        self.statuses: list[int] = []
        command = [sys.executable, "-m", "server", "--run-folder", str(folder / "run"), "run"]
        command += ["--model-store", str(archive.parent), "--health", f"127.0.0.1:{free_addresses().inference.port}"]
        for name, address in self.server.addresses.named().items():
            command += [f"--{name.replace('_', '-')}-port", str(address.port)]
        self._command, self._console = command, folder / "console"
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False

    def run(self) -> None:
        """Start it, and again for as long as nobody has called `end`; ten times at most."""
        for _ in range(10):
            with self._console.open("ab") as console:
                self._process = subprocess.Popen(self._command, cwd=PROJECT, stdout=console, stderr=console)
            self.statuses.append(self._process.wait())
            if self._over:
                return

    def end(self) -> None:
        """End it for good."""
        self._over = True
        if self._process is not None:
            self._process.terminate()


def test_a_killed_java_ends_the_run_and_its_supervisor_starts_it_anew(
    archive: Path, asked: list[Question], tmp_path: Path
) -> None:
    supervised = _Supervised(tmp_path, archive)
    server = supervised.server
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(supervised.run)
        try:
            server_is_up = eventually(lambda: server.process() is not None and bool(server.workers("lseg")), PATIENCE)
            assert server_is_up, (tmp_path / "console").read_text()
            server.wait_until_ready("lseg", PATIENCE)
            java, worker = server.process(), only_worker(server)
            assert java is not None
            with under_load(_endpoint(server), asked) as load:
                java.kill()
                start = time.monotonic()
                assert eventually(lambda: server.process() not in (None, java), PATIENCE)
                seconds = seconds_until_back(load, start)
            print(f"\nSIGKILL of Java: masks again after {seconds:.1f} s; {dict(load.tally.failures)}")
            assert_clean(load)
            assert_no_orphan(server, worker)
        finally:
            supervised.end()
            run.result(PATIENCE)
    assert supervised.statuses[:-1] == [1], "once, as a failure"
    assert not server.stop(), "nothing is left"


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own at `folder`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)]
    run = subprocess.run(mount, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        pytest.skip(f"no disk of its own can be mounted here: {run.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(disk: Path) -> Path:
    """A file that takes what is left of `disk`."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert psutil.disk_usage(str(disk)).free == 0
    return filler


def test_a_full_disk_costs_log_lines_alone(archive: Path, asked: list[Question], tmp_path: Path) -> None:
    with _small_disk(tmp_path / "disk") as disk, running(archive, disk / "run") as server:
        endpoint = _endpoint(server)
        with under_load(endpoint, asked) as load:
            filler = _fill(disk)
            answered = len(load.tally.answered)
            assert eventually(lambda: len(load.tally.answered) > answered + 100, PATIENCE), load.tally.failures
            assert not load.tally.failures
            worker = only_worker(server)
            worker.kill()
            start = time.monotonic()
            assert eventually(lambda: not worker.is_running(), PATIENCE)
            seconds = seconds_until_back(load, start)
            print(f"\nSIGKILL of the worker on a full disk: masks again after {seconds:.1f} s")
            log = server.logs / "access_log.log"
            size = log.stat().st_size
            filler.unlink()
            assert eventually(lambda: log.stat().st_size > size, PATIENCE), "the log goes on"
        assert_clean(load)
        assert_no_orphan(server, worker)


def test_a_start_on_a_full_disk_says_so(archive: Path, tmp_path: Path) -> None:
    with _small_disk(tmp_path / "disk") as disk:
        (disk / "run").mkdir()
        _fill(disk)
        server = LocalServer(disk / "run", free_addresses())
        with pytest.raises(ServerError, match=r"disk of .*/run has 0 MB left; accepted: at least \d+ MB"):
            server.serve(archive.parent, "lseg=lseg.mar")
        assert server.process() is None
