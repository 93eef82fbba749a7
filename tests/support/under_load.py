"""Clients that ask for masks while something goes wrong, and what they got."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from lseg_serve.bench.clients import Asker, Endpoint, Question
from lseg_serve.segmenter import Segmenter
from lseg_serve.server import LocalServer
from lseg_serve.server.processes import is_gone, orphans, workers_of
from tests.support.pictures import encoded, gradient
from tests.support.waiting import eventually

PATIENCE = 120  # seconds for anything that only takes a busy machine longer
LABELS = ("sky", "tree")
# What a client may get whose request met a fault, by status or by Python's word: an error, or the end of its
# connection. A TimeoutError is not among them: nobody may wait for ever.
CLEAN = {"500", "502", "504", "507", "ConnectionResetError", "ConnectionRefusedError", "RemoteDisconnected"}
_PAUSE = 0.05  # after what is no mask


def questions(archive: Path, count: int = 3) -> list[Question]:
    """Small pictures, and the masks that the archive's own code makes of them in this process."""
    segmenter = Segmenter.load(archive)
    pictures = [gradient(64 + 16 * number, 96) for number in range(count)]
    return [
        Question.of(encoded(picture), LABELS, segmenter.segment(picture, list(LABELS)).mask) for picture in pictures
    ]


@contextmanager
def under_load(endpoint: Endpoint, asked: Sequence[Question], clients: int = 3) -> Iterator[Asker]:
    """Clients ask without an end while the context lasts; afterwards each has its last answer."""
    asker, numbers, over = Asker(endpoint, asked), itertools.count(), threading.Event()

    def one() -> None:
        connection = asker.connection()
        while not over.is_set():
            before = len(asker.tally.answered)
            asker.ask(connection, next(numbers))
            if len(asker.tally.answered) == before:
                time.sleep(_PAUSE)
        connection.close()

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        assert eventually(lambda: len(asker.tally.answered) > 10, PATIENCE), "the load has begun"
        yield asker
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)


def assert_clean(asker: Asker) -> None:
    """Every mask was right, and every request that got none got an error or the end of its connection."""
    assert asker.tally.wrong == 0
    assert set(asker.tally.failures) <= CLEAN, asker.tally.failures


def seconds_until_back(asker: Asker, since: float) -> float:
    """Seconds from `since`, by time.monotonic(), until masks come again."""
    before = len(asker.tally.answered)
    # As many as there are clients may still have been answered by whoever is gone.
    assert eventually(lambda: len(asker.tally.answered) > before + 10, PATIENCE), asker.tally.failures
    return time.monotonic() - since


def only_worker(server: LocalServer) -> psutil.Process:
    """The one worker of the model `lseg`."""
    (worker,) = server.workers("lseg")
    return psutil.Process(worker["pid"])


def assert_no_orphan(server: LocalServer, gone: psutil.Process) -> None:
    """`gone` has ended, and the server has one worker, which is Java's own."""
    java = server.process()
    assert java is not None
    assert eventually(lambda: is_gone(gone), PATIENCE)
    assert eventually(lambda: len(orphans(server.temporary)) == len(workers_of(java)) == 1, PATIENCE)
