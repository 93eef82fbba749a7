"""The network between the front and the server is cut under load, or goes silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lseg_serve.bench.clients import Endpoint, Question
from lseg_serve.front.local import started
from lseg_serve.server import LocalServer
from tests.support.cable import Cable, cable_to
from tests.support.front import Front
from tests.support.under_load import assert_clean, questions, seconds_until_back, under_load
from tests.support.waiting import eventually

ANSWER_SECONDS = 2


@pytest.fixture(scope="module")
def asked(archive: Path) -> list[Question]:
    """Pictures and their masks."""
    return questions(archive)


@pytest.fixture
def cable(server: LocalServer) -> Iterator[Cable]:
    """What the front takes for the server."""
    with cable_to(server.addresses.inference.port) as one:
        yield one


@pytest.fixture
def endpoint(cable: Cable, server: LocalServer, tmp_path: Path) -> Iterator[Endpoint]:
    """A front at one end of the cable, which waits two seconds for an answer."""
    generous = dict.fromkeys(("rate", "burst", "address_rate", "address_burst"), "100000")
    settings = {**generous, "answer_seconds": str(ANSWER_SECONDS)}
    with started(tmp_path / "front", cable.address, server.addresses.management_url, **settings) as front:
        yield Endpoint(f"https://127.0.0.1:{front.port}/predictions/lseg", Front.of(front).context, front.key)


def test_a_cut_costs_the_requests_on_their_way(endpoint: Endpoint, cable: Cable, asked: list[Question]) -> None:
    with under_load(endpoint, asked) as load:
        cable.cut()
        assert eventually(lambda: load.tally.failures["502"] > 10, 60), "those that come meanwhile are told at once"
        cable.mend()
        seconds = seconds_until_back(load, time.monotonic())
    print(f"\na cut between front and server: masks again {seconds:.1f} s after its end; {dict(load.tally.failures)}")
    assert set(load.tally.failures) == {"502"}
    assert_clean(load)


def test_silence_is_told_once_the_wait_is_over(endpoint: Endpoint, cable: Cable, asked: list[Question]) -> None:
    with under_load(endpoint, asked) as load:
        cable.silence()
        assert eventually(lambda: load.tally.failures["504"] >= 3, 60), "each client was told"
        cable.mend()
        seconds = seconds_until_back(load, time.monotonic())
    print(f"\nsilence between front and server: masks again {seconds:.1f} s after its end; {dict(load.tally.failures)}")
    assert set(load.tally.failures) == {"504"}
    assert_clean(load)
