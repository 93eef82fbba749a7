"""Some hundred hostile requests to a real server, and through the front where nginx is here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lseg_serve.server import LocalServer
from tests.fuzz.hostile import Hostile, hostile
from tests.fuzz.images import corpus
from tests.fuzz.rpc import fuzz_rpc, hostile_call
from tests.fuzz.run import fuzz, kept_cases
from tests.fuzz.sending import Target, judged
from tests.fuzz.watching import state_of
from tests.serving.conftest import export_archive, running
from tests.support.front import NOT_POSSIBLE, fronting

SEED = 1


@pytest.fixture(scope="module")
def server(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server with the small network."""
    with running(
        export_archive(small_checkpoint, tmp_path_factory.mktemp("store")), tmp_path_factory.mktemp("server")
    ) as one:
        yield one


def test_the_corpus_is_served(server: LocalServer) -> None:
    """What is damaged was good: damage to a file that is refused anyway would find nothing."""
    url = f"{server.addresses.inference_url}/predictions/lseg"
    for name, file in corpus().items():
        headers = {"Content-Type": "application/octet-stream", "X-LSeg-Labels": "sky,tree"}
        answer = requests.post(url, data=file, headers=headers, timeout=60)
        assert answer.status_code == 200, (name, answer.text)


def test_past_the_front(server: LocalServer) -> None:
    before = state_of(server)
    cases = [*kept_cases(), *((SEED, number) for number in range(300))]
    report = fuzz(Target("127.0.0.1", server.addresses.inference.port), cases)
    assert not report.faults
    assert report.requests == len(cases)
    assert state_of(server).workers == before.workers


def test_through_the_front(server: LocalServer, tmp_path: Path) -> None:
    if NOT_POSSIBLE is not None:
        pytest.skip(f"{NOT_POSSIBLE} (Debian: apt-get install nginx-light)")
    before = state_of(server)
    cases = [*kept_cases(), *((SEED, number) for number in range(1000, 1300))]
    generous = dict.fromkeys(("rate", "burst", "address_rate", "address_burst"), "100000")
    with fronting(tmp_path / "front", server, **generous) as front:
        report = fuzz(Target("127.0.0.1", front.port, front.key, front.context), cases)
    assert not report.faults
    assert report.requests == len(cases)
    assert state_of(server).workers == before.workers


def test_over_grpc(server: LocalServer) -> None:
    before = state_of(server)
    report = fuzz_rpc(server.addresses.grpc_inference.port, [(SEED, number) for number in range(200)])
    assert not report.faults
    assert report.statuses["grpc", "OK"] > 20, "what is damaged was good"
    assert state_of(server).workers == before.workers


def test_a_request_is_made_again_from_its_numbers() -> None:
    assert [hostile(3, number) for number in range(50)] == [hostile(3, number) for number in range(50)]
    assert len({hostile(3, number).body for number in range(50)}) > 30
    assert [hostile_call(3, number) for number in range(50)] == [hostile_call(3, number) for number in range(50)]


@pytest.mark.parametrize(
    ("answer", "through_front", "is_a_fault"),
    [
        (b"", False, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", False, True),
        (b"HTTP/1.1 200 OK\r\n\r\nx", True, False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n<html>", True, True),
        (b"HTTP/1.1 413 Large\r\n\r\n", False, False),
        (b'HTTP/1.1 400 Bad Request\r\n\r\n{"error": "text"}', True, False),
        (
            b'HTTP/1.1 500 x\r\n\r\n{"code": 500, "type": "InternalServerException", "message": "Worker died."}',
            False,
            True,
        ),
        (b'HTTP/1.1 500 x\r\n\r\n{"code": 500, "type": "UnsupportedCharsetException", "message": "x"}', False, False),
        (
            b'HTTP/1.1 500 x\r\n\r\n{"error": {"code": 500, "type": "internal_error", "message": "m", "field": null}}',
            False,
            True,
        ),
        (
            b'HTTP/1.1 500 x\r\n\r\n{"error": {"code": 500, "type": "internal_error", "message": "m", "field": null}}',
            True,
            True,
        ),
        (
            b'HTTP/1.1 504 x\r\n\r\n{"error": {"code": 504, "type": "timed_out", "message": "m", "field": null}}',
            True,
            True,
        ),
        (
            b'HTTP/1.1 503 x\r\n\r\n{"error": {"code": 503, "type": "overloaded", "message": "m", "field": null}}',
            True,
            False,
        ),
    ],
)
def test_what_is_a_fault(answer: bytes, through_front: bool, is_a_fault: bool) -> None:
    request = Hostile("body", "/predictions/lseg", b"")
    assert (judged(request, answer, through_front=through_front).fault is not None) is is_a_fault
