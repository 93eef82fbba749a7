"""What goes wrong under load: each request is answered or fails cleanly, and the server is back by itself.

The seconds until masks come again are printed (`-s`); docs/operations.md has them.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lseg_serve.bench.clients import Endpoint, Question
from lseg_serve.server import LocalServer, ServerError
from tests.serving.conftest import export_archive, running
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

RESPONSE_TIMEOUT = 3  # seconds


@pytest.fixture(scope="module")
def archive(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network, whose worker has few seconds for an answer."""
    return export_archive(small_checkpoint, tmp_path_factory.mktemp("store"), responseTimeout=RESPONSE_TIMEOUT)


@pytest.fixture(scope="module")
def asked(archive: Path) -> list[Question]:
    """Pictures and their masks."""
    return questions(archive)


@pytest.fixture(scope="module")
def server(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server with a store of its own, in which a test damages the archive."""
    store = tmp_path_factory.mktemp("served")
    shutil.copy(archive, store)
    with running(store / archive.name, tmp_path_factory.mktemp("server")) as one:
        yield one


@pytest.fixture
def endpoint(server: LocalServer) -> Endpoint:
    """Where the server answers predictions."""
    return Endpoint(f"{server.addresses.inference_url}/predictions/lseg")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_worker_that_ends_or_hangs_is_replaced(
    number: signal.Signals, server: LocalServer, endpoint: Endpoint, asked: list[Question]
) -> None:
    """A stopped worker is no more than silent: TorchServe ends it once responseTimeout is over."""
    worker = only_worker(server)
    with under_load(endpoint, asked) as load:
        worker.send_signal(number)
        start = time.monotonic()
        assert eventually(lambda: not worker.is_running(), PATIENCE)
        seconds = seconds_until_back(load, start)
    print(f"\n{number.name} of the worker: masks again after {seconds:.1f} s; {dict(load.tally.failures)}")
    assert load.tally.failures, "somebody's request was at that worker"
    assert_clean(load)
    assert_no_orphan(server, worker)


def test_a_damaged_archive_is_no_matter_until_the_next_start(
    server: LocalServer, endpoint: Endpoint, asked: list[Question], archive: Path
) -> None:
    """Workers come back from the unpacked copy. A start says what is damaged, and leaves nothing running."""
    command = server.process().cmdline()  # type: ignore[union-attr]
    store = Path(command[command.index("-s") + 1])
    worker = only_worker(server)
    with under_load(endpoint, asked) as load:
        (store / "lseg.mar").write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
        worker.kill()
        seconds_until_back(load, time.monotonic())
    assert_clean(load)
    server.stop()
    with pytest.raises(ServerError, match=r"lseg\.mar is damaged, or no archive of a model"):
        server.serve(store, "lseg=lseg.mar")
    assert server.process() is None
