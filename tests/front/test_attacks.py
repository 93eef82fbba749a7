"""Attacks on connections and on the framing of requests, and a good client beside them.

The good client comes from an address of its own, and has to get all its masks. How long it waits is printed (`-s`) and
stands in docs/front.md; a test measures no time.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from lseg_serve.server import LocalServer
from tests.front.conftest import ATTACKER, FORM, GOOD
from tests.support.front import Front, median_seconds, received
from tests.support.waiting import eventually


@contextmanager
def _measured(front: Front, picture: bytes, attack: str) -> Iterator[None]:
    """A good client before the attack and during it; every request of it has to be answered with a mask."""
    before = median_seconds(front, picture, 15, GOOD)
    results: list[float | BaseException] = []

    def ask() -> None:
        try:
            results.append(median_seconds(front, picture, 15, GOOD))
        except BaseException as error:
            results.append(error)

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield
    finally:
        client.join(120)
    assert len(results) == 1
    during = results[0]
    assert isinstance(during, float), during
    print(f"\n{attack}: the good client's median {before * 1000:.0f} ms before, {during * 1000:.0f} ms during it")


def _serves(front: Front, picture: bytes) -> bool:
    return front.ask("POST", "/predictions/lseg", source=GOOD, data=picture, headers=FORM).status_code == 200


def test_headers_that_never_end_are_cut_off(front: Front, picture: bytes) -> None:
    with ExitStack() as stack, _measured(front, picture, "slowloris, 200 connections"):
        slow = [stack.enter_context(front.connect(ATTACKER, 30)) for _ in range(200)]
        start = time.monotonic()
        for one in slow:
            one.sendall(b"POST /predictions/lseg HTTP/1.1\r\nHost: a\r\n")
        # One more header each second does not prolong it: the limit is for all headers together.
        left = set(slow)
        while left and time.monotonic() - start < 20:
            time.sleep(1)
            for one in list(left):
                try:
                    one.sendall(b"X-a: b\r\n")
                except OSError:
                    left.discard(one)
        assert not left


def test_half_bodies_are_cut_off_and_never_reach_the_server(front: Front, server: LocalServer, picture: bytes) -> None:
    head = f"POST /predictions/lseg HTTP/1.1\r\nHost: a\r\nX-API-Key: {front.key}\r\nContent-Length: 1000000\r\n\r\n"
    handled = _predictions(server)
    with _measured(front, picture, "half bodies, 6 of the good client's own key"), ExitStack() as stack:
        halves = [stack.enter_context(front.connect(ATTACKER, 60)) for _ in range(6)]
        for one in halves:
            one.sendall(head.encode() + b"\x89PNG" * 1000)
        assert [received(one) for one in halves] == [b""] * 6
    assert _predictions(server) - handled == 30, "the good client's alone"


def test_half_bodies_without_a_key_are_answered_at_once(front: Front, picture: bytes) -> None:
    head = b"POST /predictions/lseg HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    with _measured(front, picture, "half bodies, 60 without a key"), ExitStack() as stack:
        halves = [stack.enter_context(front.connect(ATTACKER, 30)) for _ in range(60)]
        for one in halves:
            one.sendall(head + b"\x89PNG" * 1000)
        answers = [received(one) for one in halves]
    assert {answer.split()[1] for answer in answers} <= {b"401", b"429"}
    assert {b"401"} <= {answer.split()[1] for answer in answers}


def test_a_thousand_idle_connections_leave_room(front: Front, picture: bytes) -> None:
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", front.port), 30, (ATTACKER, 0)))
            for _ in range(1000)
        ]
        with _measured(front, picture, "1,000 idle connections"):
            pass
        for one in idle:
            assert received(one) == b""


SMUGGLED = b"GET /models HTTP/1.1\r\nHost: a\r\n\r\n"
FRAMINGS = {
    "a length and chunks": (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "chunks and a length": (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n" + SMUGGLED),
    "two lengths": (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"12345" + SMUGGLED),
    "two equal lengths": (b"Content-Length: 5\r\nContent-Length: 5\r\n", b"12345" + SMUGGLED),
    "a length with a sign": (b"Content-Length: +5\r\n", b"12345" + SMUGGLED),
    "a length below zero": (b"Content-Length: -5\r\n", b"12345" + SMUGGLED),
    "a length beyond 64 bits": (b"Content-Length: 99999999999999999999\r\n", b"12345" + SMUGGLED),
    "a list of lengths": (b"Content-Length: 5, 5\r\n", b"12345" + SMUGGLED),
    "an unknown coding": (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "two codings": (b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + SMUGGLED),
    "two headers of codings": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a coding after a tab": (b"Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a space before the colon": (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a folded line": (b"X-a: b\r\n Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a folded coding": (b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a bare return": (b"X-a: b\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "a zero byte": (b"X-a: b\x00Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "chunks of no size": (b"Transfer-Encoding: chunked\r\n", b"zz\r\n\r\n" + SMUGGLED),
    "chunks of a size with a sign": (b"Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n" + SMUGGLED),
    "chunks beyond 64 bits": (b"Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\n" + SMUGGLED),
    "chunks with a bare return": (b"Transfer-Encoding: chunked\r\n", b"1\rx\r\n0\r\n\r\n" + SMUGGLED),
    "chunks with a trailer": (
        b"Transfer-Encoding: chunked\r\n",
        b"0\r\nX-API-Key: a\r\nContent-Length: 5\r\n\r\n" + SMUGGLED,
    ),
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_a_request_inside_a_request_reaches_nothing(front: Front, name: str, picture: bytes) -> None:
    headers, body = FRAMINGS[name]
    head = f"POST /predictions/lseg HTTP/1.1\r\nHost: a\r\nX-API-Key: {front.key}\r\nContent-Type: image/png\r\n"
    answer = front.exchange(head.encode() + headers + b"\r\n" + body, 30, ATTACKER)
    # What follows the first request is another one to nginx, if anything; its route is a hidden one.
    assert b"modelName" not in answer
    assert b"HTTP/1.1 200" not in answer
    assert b"HTTP/1.1 5" not in answer or b"HTTP/1.1 501" in answer
    assert _serves(front, picture)


def test_a_request_behind_a_request_is_read_as_one_of_its_own(front: Front, picture: bytes) -> None:
    head = f"POST /predictions/lseg HTTP/1.1\r\nHost: a\r\nX-API-Key: {front.key}\r\nX-LSeg-Labels: sky\r\n"
    head += f"Content-Type: image/png\r\nContent-Length: {len(picture)}\r\n\r\n"
    last = SMUGGLED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answer = front.exchange((head.encode() + picture) * 2 + last)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"HTTP/1.1 404 ") == 1


def test_large_uploads_at_once_are_answered_and_leave_room(front: Front, server: LocalServer, picture: bytes) -> None:
    large = picture + bytes(40_000_000 - len(picture))
    with _measured(front, picture, "50 uploads of 40 MB at once"), ThreadPoolExecutor(50) as pool:
        asked = [
            pool.submit(front.ask, "POST", "/predictions/lseg", source=ATTACKER, data=large, headers=FORM)
            for _ in range(50)
        ]
        answers = [one.result() for one in asked]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 400, 429, 503, 507}, statuses
    assert statuses.count(429) > 0, "a key has 8 requests at a time"
    print({status: statuses.count(status) for status in set(statuses)})
    assert eventually(lambda: not list((front.folder / "bodies").rglob("[0-9]" * 10)), 10), "bodies are removed"
    assert _serves(front, picture)


def _predictions(server: LocalServer) -> int:
    """How many requests the model has had."""
    import requests

    text = requests.get(f"http://127.0.0.1:{server.addresses.metrics.port}/metrics", timeout=10).text
    values = [line.split()[-1] for line in text.splitlines() if line.startswith("ts_inference_requests_total{")]
    return int(float(values[0])) if values else 0
