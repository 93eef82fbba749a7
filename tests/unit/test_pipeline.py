"""A batch is as many requests as it holds: each gets what it would get alone, whatever the others are."""

from __future__ import annotations

import base64
import errno
import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from lseg_serve.handler import pipeline
from lseg_serve.handler.pipeline import Headers, Row, respond
from lseg_serve.handler.responses import Response, ServerInfo, make_response
from lseg_serve.model import LSeg
from lseg_serve.segmenter import Config, Job, Segmentation, Segmenter
from lseg_serve.segmenter.config import StaticImageSizeParams
from lseg_serve.segmenter.devices import CpuDevice
from tests.conftest import PROJECT
from tests.support.pictures import encoded, noise, png

CONFIG = Config(
    device="cpu",
    static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1), (2, 3)), short_sizes=(32,)),
    max_image_pixels=1_000_000,
)
SERVER = ServerInfo("lseg", "1.0", "cpu", 1_000_000)
SECRET = "hunter2 at /root/.ssh"
JSON_HEADERS = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def segmenter(small_net: LSeg) -> Segmenter:
    return Segmenter(small_net, config=CONFIG, label_set=("wall", "floor"))


def _row(height: int = 32, width: int = 32, seed: int = 0, **fields: str) -> Row:
    return {
        "image": bytearray(encoded(noise(height, width, seed))),
        **{name: bytearray(value.encode()) for name, value in fields.items()},
    }


GOOD: list[tuple[Row, Headers]] = [
    (_row(40, 50, 1, labels="cat,dog"), {"labels": {"content-type": ""}}),
    (_row(20, 20, 2, labels='["sky", "猫"]', format="overlay", alpha="0.3"), {"Host": "x"}),
    ({"body": bytearray(encoded(noise(33, 60, 3)))}, {"X-LSeg-Format": "zip", "x-lseg-threshold": "0.4"}),
    ({"body": {"image": base64.b64encode(encoded(noise(9, 70, 4))).decode(), "format": "npz"}}, JSON_HEADERS),
]

BAD: dict[str, tuple[Row, Headers, int, str, str | None]] = {
    "no image": ({"labels": bytearray(b"cat")}, {}, 400, "invalid_image", "image"),
    "an empty image": ({"body": bytearray()}, {}, 400, "invalid_image", "image"),
    "no picture": ({"body": bytearray(b"hello")}, {}, 415, "unsupported_image", "image"),
    "half a picture": ({"body": bytearray(encoded(noise(40, 40))[:2000])}, {}, 400, "invalid_image", "image"),
    "a bomb": ({"body": bytearray(png(50_000, 50_000, 8, 2, b""))}, {}, 413, "image_too_large", "image"),
    "an unknown field": (_row(label="cat"), {}, 400, "invalid_option", "label"),
    "an unknown format": (_row(format="gif"), {}, 400, "invalid_option", "format"),
    "a bad number": (_row(threshold="nan"), {}, 400, "invalid_option", "threshold"),
    "a label twice": (_row(labels="cat,Cat"), {}, 400, "invalid_labels", "labels"),
    "no label": (_row(labels="[]"), {}, 400, "invalid_labels", "labels"),
    "a label of too many tokens": (_row(labels="a " * 90), {}, 400, "invalid_labels", "labels"),
    "labels nested deeply": (_row(labels="[" * 100_000), {}, 400, "invalid_labels", "labels"),
    "a number without end in labels": (_row(labels=f"[{'9' * 5_000}]"), {}, 400, "invalid_labels", "labels"),
    "broken JSON": ({"body": bytearray(b"{")}, JSON_HEADERS, 400, "invalid_request", None),
    "a JSON list": ({"body": [1]}, JSON_HEADERS, 400, "invalid_request", None),
    "too large an answer": (_row(600, 600, format="overlay"), {}, 413, "response_too_large", "format"),
}


def _answers(segmenter: Segmenter, requests: Sequence[tuple[Row, Headers]]) -> list[Response]:
    return respond(segmenter, [row for row, _ in requests], [headers for _, headers in requests], SERVER)


def _error(answer: Response) -> dict[str, Any]:
    assert answer.content_type == "application/json"
    error: dict[str, Any] = json.loads(answer.body)["error"]
    assert error["code"] == answer.status
    return error


@pytest.fixture(scope="module")
def alone(segmenter: Segmenter) -> list[Response]:
    """The answers to the good requests, each served alone."""
    return [_answers(segmenter, [request])[0] for request in GOOD]


def test_answers_stand_in_the_order_of_their_requests(segmenter: Segmenter, alone: list[Response]) -> None:
    assert [answer.status for answer in alone] == [200] * 4
    assert len({answer.body for answer in alone}) == 4
    assert [answer.body for answer in _answers(segmenter, GOOD)] == [answer.body for answer in alone]
    assert [answer.body for answer in _answers(segmenter, GOOD[::-1])] == [answer.body for answer in alone[::-1]]


def test_an_empty_batch_has_no_answers(segmenter: Segmenter) -> None:
    assert _answers(segmenter, []) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_among_four_changes_nothing_for_the_others(
    segmenter: Segmenter, alone: list[Response], name: str
) -> None:
    row, headers, status, kind, field = BAD[name]
    answers = _answers(segmenter, [GOOD[0], (row, headers), *GOOD[1:3]])
    error = _error(answers.pop(1))
    assert (error["code"], error["type"], error["field"]) == (status, kind, field)
    for answer, expected in zip(answers, alone[:3], strict=True):
        assert (answer.status, answer.content_type, answer.body) == (200, expected.content_type, expected.body)


def test_a_batch_of_bad_requests_only_is_answered(segmenter: Segmenter) -> None:
    answers = _answers(segmenter, [(row, headers) for row, headers, *_ in BAD.values()])
    assert [answer.status for answer in answers] == [status for _, _, status, _, _ in BAD.values()]


def test_a_request_for_json_tells_what_is_sure(segmenter: Segmenter) -> None:
    answer = json.loads(_answers(segmenter, [(_row(labels="cat,dog", format="json"), {})])[0].body)
    assert [entry["name"] for entry in answer["labels"]] == ["cat", "dog"]
    assert all(0 <= entry["mean_score"] <= 1 for entry in answer["labels"])
    assert max(entry["mean_score"] for entry in answer["labels"]) > 0.5
    assert list(answer["timings_ms"]) == ["decode", "text", "network", "mask"]


def _failing_for(monkeypatch: pytest.MonkeyPatch, height: int, error: BaseException | None = None) -> None:
    """Let the network fail over images of that height; without `error`, as torch does for want of memory on a CPU."""
    segment_batch = Segmenter.segment_batch

    def failing(self: Segmenter, jobs: Sequence[Job]) -> list[Segmentation]:
        if any(job.image.shape[0] == height for job in jobs):
            if error is None:
                torch.empty(2**50)
            else:
                raise error
        return segment_batch(self, jobs)

    monkeypatch.setattr(Segmenter, "segment_batch", failing)


@pytest.mark.parametrize(
    "error", [RuntimeError(SECRET), AssertionError(SECRET)], ids=["RuntimeError", "AssertionError"]
)
def test_an_unforeseen_error_over_one_image_spares_the_others_and_tells_nobody(
    segmenter: Segmenter,
    alone: list[Response],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    _failing_for(monkeypatch, 20, error)
    answers = _answers(segmenter, GOOD)
    failed = answers.pop(1)
    assert _error(failed) == {
        "code": 500,
        "type": "internal_error",
        "message": "internal error; the server's log has its cause",
        "field": None,
    }
    assert b"hunter2" not in failed.body
    assert "hunter2" not in str(failed.headers)
    assert SECRET in caplog.text
    assert [answer.body for answer in answers] == [alone[0].body, alone[2].body, alone[3].body]


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), None],
    ids=["python", "accelerator", "torch on a CPU"],
)
def test_an_image_that_memory_does_not_hold_is_told_so_and_spares_the_others(
    segmenter: Segmenter, alone: list[Response], monkeypatch: pytest.MonkeyPatch, error: BaseException | None
) -> None:
    _failing_for(monkeypatch, 33, error)
    answers = _answers(segmenter, GOOD)
    failed = _error(answers.pop(2))
    assert (failed["code"], failed["type"]) == (507, "out_of_memory")
    assert "smaller image" in failed["message"]
    assert [answer.body for answer in answers] == [alone[0].body, alone[1].body, alone[3].body]


class FullDevice(CpuDevice):
    """A CPU whose memory is full for as long as something is cached, or for good; it counts what it was asked for."""

    def __init__(self, until_emptied: bool) -> None:
        super().__init__()
        self.until_emptied = until_emptied
        self.full = False
        self.tries = self.emptied = 0

    def to_device(self, tensor: Tensor) -> Tensor:
        self.tries += 1
        if self.full:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().to_device(tensor)

    def empty_cache(self) -> None:
        self.emptied += 1
        self.full = self.full and not self.until_emptied


@pytest.mark.parametrize("labels", ["cat", "a new word"], ids=["over the image", "over the labels"])
def test_out_of_memory_empties_the_caches_and_tries_again(small_net: LSeg, labels: str) -> None:
    device = FullDevice(until_emptied=True)
    segmenter = Segmenter(small_net, config=CONFIG, device=device)
    assert segmenter.feature_cache is not None
    first, again = _row(seed=1, labels="cat"), _row(seed=2, labels=labels)
    assert _answers(segmenter, [(first, {})])[0].status == 200
    expected = _answers(Segmenter(small_net, config=CONFIG), [(again, {})])[0]
    device.full = True
    found = _answers(segmenter, [(again, {})])[0]
    assert (found.status, found.body) == (200, expected.body)
    assert device.emptied == 1
    assert segmenter.feature_cache.counts.bytes > 0
    assert len(segmenter.feature_cache) == 1, "the first image's features are gone"


@pytest.mark.parametrize("labels", ["cat", "a new word"], ids=["over the image", "over the labels"])
def test_what_memory_never_holds_is_tried_twice_and_no_more(small_net: LSeg, labels: str) -> None:
    device = FullDevice(until_emptied=False)
    segmenter = Segmenter(small_net, config=CONFIG, device=device)
    cache = segmenter.feature_cache
    assert cache is not None
    _answers(segmenter, [(_row(seed=1, labels="cat"), {})])
    assert len(cache) == 1
    device.full, device.tries = True, 0
    assert _answers(segmenter, [(_row(seed=2, labels=labels), {})])[0].status == 507
    assert (device.tries, device.emptied) == (2, 1)
    assert (len(cache), cache.counts.bytes) == (0, 0)
    device.full = False
    assert _answers(segmenter, [(_row(seed=2, labels=labels), {})])[0].status == 200


def test_a_batch_that_memory_does_not_hold_is_served_one_by_one(small_net: LSeg, alone: list[Response]) -> None:
    device = FullDevice(until_emptied=True)
    segmenter = Segmenter(small_net, config=CONFIG, device=device, label_set=("wall", "floor"))
    for labels in (["cat", "dog"], ["sky", "猫"], ["wall", "floor"]):  # as alone: more labels at once round otherwise
        segmenter.encode_labels(labels)
    device.full = True
    answers = _answers(segmenter, GOOD)
    assert [answer.body for answer in answers] == [answer.body for answer in alone]
    assert device.emptied == 1


# How those that allocate say that they cannot: on a host, in NVIDIA's libraries, on a Gaudi, in C++.
NO_MEMORY = [
    MemoryError(),
    cv2.error("OpenCV alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 12000000000000 bytes"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[Rank:0] FATAL ERROR :: MODULE:PT_DEVMEM Allocation failed for size::8388608 (8)MB"),
    RuntimeError("std::bad_alloc"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=str)
def test_every_way_of_having_no_memory_is_known(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    _failing_for(monkeypatch, 20, error)
    assert [answer.status for answer in _answers(segmenter, GOOD)] == [200, 507, 200, 200]


def _failing_once(monkeypatch: pytest.MonkeyPatch, name: str, calls: list[str]) -> None:
    """Let a step of the way of a request fail for want of memory when it is called for the first time."""
    step = getattr(pipeline, name)

    def failing(*arguments: Any) -> Any:
        calls.append(name)
        if len(calls) == 1:
            raise MemoryError
        return step(*arguments)

    monkeypatch.setattr(pipeline, name, failing)


@pytest.mark.parametrize("name", ["decode_image", "make_response"])
def test_decoding_and_the_response_are_tried_again_too(
    segmenter: Segmenter, alone: list[Response], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    calls: list[str] = []
    _failing_once(monkeypatch, name, calls)
    assert segmenter.feature_cache is not None
    answers = _answers(segmenter, GOOD)
    assert [answer.body for answer in answers] == [answer.body for answer in alone]
    assert len(calls) == len(GOOD) + 1


def test_what_fails_for_another_reason_is_not_tried_again(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def failing(*arguments: Any) -> Any:
        calls.append("once")
        raise RuntimeError(SECRET)

    monkeypatch.setattr(pipeline, "make_response", failing)
    assert _answers(segmenter, GOOD[:1])[0].status == 500
    assert calls == ["once"]


# The feature cache holds what the image needs, and the process may not have both.
TIGHT = """
import resource, sys
import numpy as np, psutil, torch
torch.set_num_threads(1)
from lseg_serve.handler import pipeline
from lseg_serve.handler.pipeline import respond
from lseg_serve.handler.process.memory import keep_freed_memory
from lseg_serve.handler.responses import ServerInfo
from lseg_serve.segmenter import Config, Segmenter, StaticImageSizeParams
from lseg_serve.segmenter.engine.feature_cache import FeatureKey
from tests.support.networks import SMALL, random_network
from tests.conftest import PROJECT
from tests.support.pictures import encoded

keep_freed_memory()
sizes = StaticImageSizeParams(hw_ratios=((1, 1),), short_sizes=(32,))
config = Config(device="cpu", static_image_size_params=sizes, feature_cache_megabytes=2_000)
segmenter = Segmenter(random_network(SMALL), config=config)
row = {"image": encoded(np.zeros((5_000, 5_000, 3), np.uint8)), "labels": b"cat"}
server = ServerInfo("lseg", "1.0", "cpu", 100_000_000)
print(respond(segmenter, [{"image": encoded(np.zeros((9, 9, 3), np.uint8)), "labels": b"cat"}], [{}], server)[0].status)
for number in range(8):
    segmenter.feature_cache.put(FeatureKey(bytes([number]), (32, 32)), torch.ones(1, 25_000_000))
limit = psutil.Process().memory_info().vms + 60_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(respond(segmenter, [row], [{}], server)[0].status, len(segmenter.feature_cache))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a process's memory is Linux's")
def test_a_process_at_its_limit_gives_up_its_cache_for_a_request() -> None:
    run = subprocess.run([sys.executable, "-c", TIGHT], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["200", "200", "1"], run.stderr


def test_an_error_that_happens_to_all_is_answered_to_each(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for height in (40, 20, 33, 9):
        _failing_for(monkeypatch, height, RuntimeError(SECRET))
    assert [_error(answer)["code"] for answer in _answers(segmenter, GOOD)] == [500] * 4


def test_an_unforeseen_error_while_an_answer_is_written_spares_the_others(
    segmenter: Segmenter, alone: list[Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(request: Any, image: Any, result: Any, server: ServerInfo) -> Response:
        if request.format == "npz":
            raise RuntimeError(SECRET)
        return make_response(request, image, result, server)

    monkeypatch.setattr("lseg_serve.handler.pipeline.make_response", failing)
    answers = _answers(segmenter, GOOD)
    assert _error(answers[3])["code"] == 500
    assert b"hunter2" not in answers[3].body
    assert [answer.body for answer in answers[:3]] == [answer.body for answer in alone[:3]]


def test_what_a_client_sends_stays_out_of_the_log(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even the most detailed level, nor an error with its traceback, shows it."""
    _failing_for(monkeypatch, 20, RuntimeError("the network broke"))
    caplog.set_level(logging.DEBUG)
    headers = {"Authorization": f"Bearer {SECRET}", "X-LSeg-Labels": "cat,dog"}
    assert _answers(segmenter, [({"body": GOOD[0][0]["image"]}, headers)])[0].status == 200
    assert _answers(segmenter, [({"body": bytearray(b"hello")}, headers)])[0].status == 415
    assert _answers(segmenter, [({"body": bytearray(encoded(noise(20, 20)))}, headers)])[0].status == 500
    assert "the network broke" in caplog.text
    assert "hunter2" not in caplog.text


def test_the_exported_label_set_serves_requests_without_labels(segmenter: Segmenter) -> None:
    answer = json.loads(_answers(segmenter, [(_row(format="json"), {})])[0].body)
    assert [entry["name"] for entry in answer["labels"]] == ["wall", "floor"]


def test_without_a_label_set_labels_are_asked_for(small_net: LSeg) -> None:
    bare = Segmenter(small_net, config=CONFIG)
    without, with_labels = _answers(bare, [(_row(), {}), (_row(labels="cat"), {})])
    error = _error(without)
    assert (error["code"], error["field"]) == (400, "labels")
    assert with_labels.status == 200


def test_a_large_batch_of_many_sizes_keeps_each_its_own_size(segmenter: Segmenter) -> None:
    sizes = np.random.default_rng(0).integers(1, 60, (12, 2)).tolist()
    rows = [_row(height, width, seed, labels="cat,dog", format="json") for seed, (height, width) in enumerate(sizes)]
    answers = [json.loads(answer.body) for answer in _answers(segmenter, [(row, {}) for row in rows])]
    assert [[answer["height"], answer["width"]] for answer in answers] == sizes
