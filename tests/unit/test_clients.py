"""The benchmark's clients, against a real server that answers as the test says."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lseg_serve.bench.clients import Endpoint, Question, closed_loop, open_loop
from tests.support.pictures import Pixels
from tests.support.scripted import Scripted, ScriptedServer, serving

RIGHT = np.zeros((4, 6), np.uint8)


def _png(mask: Pixels, compress_level: int = 6) -> bytes:
    """A mask as the endpoint answers it."""
    legend, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    legend.add_itxt("legend", '[{"index": 0, "name": "sky", "color": "#ff0000"}]')
    Image.fromarray(mask).save(buffer, "PNG", pnginfo=legend, compress_level=compress_level)
    return buffer.getvalue()


def _endpoint(server: ScriptedServer) -> Endpoint:
    return Endpoint(f"{server.url}/predictions/lseg")


@pytest.fixture
def asked() -> list[Question]:
    """One question; the server does not look at the image."""
    return [Question.of(b"an image", ["sky"], RIGHT)]


def test_each_answer_is_counted_as_what_it_is(asked: list[Question]) -> None:
    wrong = RIGHT.copy()
    wrong[3, 5] = 1
    right = Scripted(200, _png(RIGHT))
    others = [
        Scripted(200, _png(wrong)),
        Scripted(200, b"no PNG"),
        Scripted(503),
        Scripted(429),
        Scripted(500),
        Scripted(200, b"half", missing=9),
    ]
    with serving(*others, right) as server:
        tally = open_loop(_endpoint(server), asked, rate=200, seconds=0.1, senders=1)
    assert tally.requests == 20
    assert (len(tally.answered), tally.wrong) == (16, 2)
    assert len(tally.refused) == 2
    assert tally.failures == {"500": 1, "IncompleteRead": 1}


def test_a_server_that_is_away_is_a_failure(asked: list[Question]) -> None:
    with serving(Scripted(200)) as server:
        endpoint = _endpoint(server)
    assert open_loop(endpoint, asked, rate=200, seconds=0.02).failures == {"ConnectionRefusedError": 4}


def test_the_same_mask_in_other_bytes_is_right(asked: list[Question]) -> None:
    bodies = [_png(RIGHT, level) for level in (0, 9, 0, 9)]
    assert bodies[0] != bodies[1]
    with serving(*(Scripted(200, body) for body in bodies)) as server:
        tally = open_loop(_endpoint(server), asked, rate=200, seconds=0.02, senders=1)
    assert (len(tally.answered), tally.wrong) == (4, 0)


def test_clients_that_wait_have_one_request_each(asked: list[Question]) -> None:
    with serving(Scripted(200, _png(RIGHT), seconds=0.02)) as server:
        tally = closed_loop(_endpoint(server), asked, clients=5, seconds=0.4)
        assert server.most_at_once == 5
    assert tally.requests == len(tally.answered) > 5
    assert tally.seconds >= 0.4


def test_requests_at_a_rate_do_not_wait_for_answers(asked: list[Question]) -> None:
    """A time counts from when the request was due, so that a late sender does not hide it."""
    slow, fast = Scripted(200, _png(RIGHT), seconds=0.5), Scripted(200, _png(RIGHT))
    with serving(slow, fast) as server:
        one_sender = open_loop(_endpoint(server), asked, rate=50, seconds=0.1, senders=1)
    with serving(slow, fast) as server:
        several = open_loop(_endpoint(server), asked, rate=50, seconds=0.1, senders=5)
    assert len(one_sender.answered) == len(several.answered) == 5
    assert min(one_sender.answered) > 0.4, "the last was due at 80 ms and sent at 500"
    assert min(several.answered) < 0.4
