"""Sizes, rates, numbers at a time, and a server that is slow or away: each has its answer."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from lseg_serve.front.keys import add_key
from lseg_serve.server import LocalServer
from tests.front.conftest import FORM, error_of
from tests.serving.conftest import free_addresses
from tests.support.front import Front, fronting, received
from tests.support.waiting import eventually

Start = Callable[..., Front]


@pytest.fixture
def start(server: LocalServer, tmp_path: Path) -> Iterator[Start]:
    """Starts fronts with settings of their own."""
    open_fronts: list[AbstractContextManager[Front]] = []

    def begin(behind: LocalServer = server, **settings: str) -> Front:
        context = fronting(tmp_path / str(len(open_fronts)), behind, **settings)
        open_fronts.append(context)
        return context.__enter__()

    yield begin
    for context in open_fronts:
        context.__exit__(None, None, None)


@contextmanager
def _worker_stopped(server: LocalServer) -> Iterator[None]:
    """While this holds, the worker takes its time for ever."""
    pids = [int(worker["pid"]) for worker in server.workers("lseg")]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_body_is_bounded_whether_it_says_its_length_or_not(front: Front) -> None:
    size = 50_000_001
    head = f"POST /predictions/lseg HTTP/1.1\r\nHost: a\r\nX-API-Key: {front.key}\r\nContent-Length: {size}\r\n\r\n"
    answer = front.exchange(head.encode())
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"type": "too_large"' in answer
    assert b"up to 50000000 bytes" in answer
    chunked = head.replace(f"Content-Length: {size}", "Transfer-Encoding: chunked")
    with front.connect() as connection:
        with suppress(ConnectionError, ssl.SSLError):  # the answer comes while the body still goes
            connection.sendall(chunked.encode() + b"%x\r\n" % size + bytes(size))
        assert received(connection).startswith(b"HTTP/1.1 413")


def test_a_key_has_its_rate_and_others_keep_theirs(start: Start, picture: bytes) -> None:
    front = start(rate="1", burst="2")
    answers = [front.ask("POST", "/predictions/lseg", data=picture, headers=FORM) for _ in range(6)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:3] == [200, 200, 200]
    assert set(statuses[3:]) <= {200, 429}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    error_of(refused[0], "too_many_requests")
    other = add_key(front.keys, "other")
    assert front.ask("POST", "/predictions/lseg", key=other, data=picture, headers=FORM).status_code == 200


def test_an_address_has_its_rate_whatever_keys_it_sends(start: Start, picture: bytes) -> None:
    front = start(address_rate="1", address_burst="2")
    keys = ["lseg_" + letter * 43 for letter in "abcdef"]
    statuses = [front.ask("POST", "/predictions/lseg", key=key, source="127.0.0.66").status_code for key in keys]
    assert statuses[:3] == [401, 401, 401]
    assert 429 in statuses
    assert front.ask("POST", "/predictions/lseg", source="127.0.0.7", data=picture, headers=FORM).status_code == 200


def _together(front: Front, count: int, picture: bytes) -> list[requests.Response]:
    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(front.ask, "POST", "/predictions/lseg", data=picture, headers=FORM) for _ in range(count)]
        return [one.result() for one in asked]


def test_a_key_has_so_many_requests_at_a_time(start: Start, server: LocalServer, picture: bytes) -> None:
    front = start(requests="2", answer_seconds="5")
    with _worker_stopped(server):
        answers = _together(front, 4, picture)
    assert sorted(answer.status_code for answer in answers) == [429, 429, 504, 504]
    for answer in answers:
        error_of(answer, "too_many_requests" if answer.status_code == 429 else "timed_out")
    assert eventually(lambda: front.ask("POST", "/predictions/lseg", data=picture, headers=FORM).status_code == 200, 30)


def test_a_full_queue_and_full_room_at_the_server_are_503(start: Start, server: LocalServer, picture: bytes) -> None:
    # The worker has one and the queue two. The front lets four through, so the fourth is refused by the server.
    front = start(server_requests="4", answer_seconds="5", requests="50")
    with _worker_stopped(server):
        answers = _together(front, 10, picture)
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) >= 6
    for answer in refused:
        error_of(answer, "overloaded")
        assert answer.headers["Retry-After"] == "2"
    assert {answer.status_code for answer in answers} == {503, 504}
    assert eventually(lambda: front.ask("POST", "/predictions/lseg", data=picture, headers=FORM).status_code == 200, 30)


def test_nginx_takes_the_largest_values_that_are_accepted(start: Start, picture: bytes) -> None:
    numbers = ("max_body", "rate", "burst", "address_rate", "address_burst", "slow_seconds", "answer_seconds")
    counts = ("requests", "server_requests", "address_requests")
    front = start(**dict.fromkeys(numbers, "999999999"), **dict.fromkeys(counts, "65535"))
    assert front.ask("POST", "/predictions/lseg", data=picture, headers=FORM).status_code == 200


def test_a_server_that_is_away_is_502_and_not_ready(start: Start, tmp_path: Path, picture: bytes) -> None:
    away = LocalServer(tmp_path / "away", free_addresses())
    front = start(away)
    answer = front.ask("POST", "/predictions/lseg", data=picture, headers=FORM)
    assert (answer.status_code, answer.headers["Retry-After"]) == (502, "3")
    error_of(answer, "server_unreachable")
    for path in ("/v2/health/ready", "/ping"):
        ready = front.ask("GET", path, key=None)
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
    assert front.ask("GET", "/v2/health/live", key=None).status_code == 200
    assert front.ask("GET", "/v2/models/lseg").status_code == 503
    answer = front.ask("POST", "/v2/models/lseg/infer", json={})
    assert (answer.status_code, answer.json()) == (
        502,
        {"error": "the server does not answer; send this request again later"},
    )
