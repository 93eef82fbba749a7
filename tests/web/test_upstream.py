"""What becomes of answers that a real TorchServe cannot be brought to: a small HTTP server gives them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from lseg_serve.web import Endpoint, Settings, create_app
from tests.serving.conftest import error_of, free_addresses
from tests.support.web import listening

NO_WORKER = 'Model "lseg" has no worker to serve inference request. Please use scale workers API to add workers.'


class Upstream:
    """Answers each request for a mask as it was told, and tells of the model's workers."""

    def __init__(self) -> None:
        self.answer: Response | StreamingResponse = Response(b"mask", headers={"X-LSeg-Device": "cpu"})
        self.workers: list[dict[str, str]] = [{"id": "9000", "status": "READY"}]
        self.asked: list[Request] = []
        self.bodies: list[bytes] = []
        routes = [
            Route("/predictions/{model}", self._predict, methods=["POST"]),
            Route("/models", self._list),
            Route("/models/{model}", self._describe),
        ]
        self.app = Starlette(routes=routes)

    async def _predict(self, request: Request) -> Response:
        self.asked.append(request)
        self.bodies.append(await request.body())
        return self.answer

    async def _list(self, request: Request) -> Response:
        return Response(json.dumps({"models": [{"modelName": "lseg"}, {"modelName": "../x"}]}))

    async def _describe(self, request: Request) -> Response:
        return Response(json.dumps([{"modelName": "lseg", "workers": self.workers}]))


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def url(upstream: Upstream) -> Iterator[str]:
    with listening(upstream.app) as address, _app(address) as app:
        yield f"{app}/api/models/lseg/segment"


@contextmanager
def _app(address: str, **settings: Any) -> Iterator[str]:
    with listening(create_app(Settings((Endpoint("default", address, address),), **settings))) as app:
        yield app


def _post(url: str, **headers: str) -> requests.Response:
    return requests.post(url, data=b"image", headers={"Content-Type": "image/png", **headers}, timeout=60)


def _torchserve(status: int, message: str) -> Response:
    """An error as TorchServe writes it."""
    body = {"code": status, "type": "InternalServerException", "message": message}
    return Response(json.dumps(body), status, media_type="application/json")


@pytest.mark.parametrize(
    ("status", "message", "expected", "error_type"),
    [
        (500, "Worker died.", 500, "worker_died"),
        (503, "Worker died.", 500, "worker_died"),
        (507, "Worker died.", 507, "worker_died"),
        (507, "number of batch response mismatched", 507, "out_of_memory"),
        (500, "java.lang.OutOfMemoryError: Java heap space", 507, "out_of_memory"),
        (500, "Cannot reserve 4194304 bytes of direct buffer memory", 507, "out_of_memory"),
        (500, "NullPointerException", 500, "internal_error"),
        (413, "", 413, "too_large"),
        (408, "Job timed out", 504, "timed_out"),
        (504, "", 504, "timed_out"),
        (404, "Model not found: lseg", 404, "unknown_model"),
        (400, "Bad request", 400, "invalid_request"),
        (405, "Requested method is not allowed", 400, "invalid_request"),
        (503, NO_WORKER, 503, "overloaded"),
    ],
)
def test_torchserves_own_errors(
    upstream: Upstream, url: str, status: int, message: str, expected: int, error_type: str
) -> None:
    upstream.answer = _torchserve(status, message)
    error = error_of(_post(url))
    assert (error["code"], error["type"]) == (expected, error_type)


@pytest.mark.parametrize(
    ("workers", "error_type", "words"),
    [
        ([{"status": "READY"}], "overloaded", "too many requests"),
        ([{"status": "UNLOADING"}], "not_ready", "is loading"),
        ([], "not_ready", "no worker"),
    ],
)
def test_the_workers_tell_what_a_503_means(
    upstream: Upstream, url: str, workers: list[dict[str, str]], error_type: str, words: str
) -> None:
    upstream.answer, upstream.workers = _torchserve(503, NO_WORKER), workers
    answer = _post(url)
    error = error_of(answer)
    assert error["type"] == error_type
    assert words in str(error["message"])
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "body", [b"", b"<html>oops</html>", b"\xff\xfe", b"[]", b'{"error": {"code": 500}}', b"x" * 10**6]
)
@pytest.mark.parametrize("status", [400, 413, 500, 503])
def test_an_error_in_no_known_form_gets_one(upstream: Upstream, url: str, status: int, body: bytes) -> None:
    upstream.answer = Response(body, status)
    error = error_of(_post(url))
    assert error["code"] == status
    assert len(str(error["message"])) < 400


def test_a_workers_error_passes_as_it_is(upstream: Upstream, url: str) -> None:
    detail = {"code": 503, "type": "device_lost", "message": "the device failed", "field": None}
    upstream.answer = Response(json.dumps({"error": detail}), 503)
    answer = _post(url)
    assert error_of(answer) == detail
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("status", [204, 302, 307])
def test_what_is_no_mask_is_no_answer(upstream: Upstream, url: str, status: int) -> None:
    upstream.answer = Response(status_code=status, headers={"Location": "http://127.0.0.1:1/"})
    error = error_of(_post(url))
    assert (error["code"], error["type"]) == (502, "bad_answer")


def test_only_what_is_meant_to_pass_does(upstream: Upstream, url: str) -> None:
    upstream.answer.headers.update(
        {"Set-Cookie": "a=b", "Server": "x", "X-Request-Id": "1", "Server-Timing": "mask;dur=1"}
    )
    answer = _post(
        url, Cookie="secret", Authorization="secret", Forwarded="for=1", Accept="image/*", **{"X-LSeg-Mode": "fast"}
    )
    assert answer.content == b"mask"
    assert {"x-lseg-device", "server-timing"} <= {name.lower() for name in answer.headers}
    assert not {"set-cookie", "server", "x-request-id"} & {name.lower() for name in answer.headers}
    sent = upstream.asked[0].headers
    assert (sent["accept"], sent["content-type"], sent["x-lseg-mode"]) == ("image/*", "image/png", "fast")
    assert not {"cookie", "authorization", "forwarded", "origin", "referer"} & set(sent)
    assert (sent["content-length"], upstream.bodies) == ("5", [b"image"])


def test_an_answer_that_grows_beyond_the_limit_is_broken_off(upstream: Upstream) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 10_000

    upstream.answer = StreamingResponse(endless())
    with listening(upstream.app) as address, _app(address, max_answer_bytes=50_000) as app:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _post(f"{app}/api/models/lseg/segment")
        assert requests.get(f"{app}/healthz", timeout=60).ok


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"nonsense\r\n\r\n"])
def test_a_server_that_breaks_off_is_told(sent: bytes) -> None:
    with _hanging_up(sent) as address, _app(address) as app:
        error = error_of(_post(f"{app}/api/models/lseg/segment"))
    assert (error["code"], error["type"]) == (502, "server_unreachable")


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with _app(address, timeout_seconds=0.3) as app:
            error = error_of(_post(f"{app}/api/models/lseg/segment"))
    assert (error["code"], error["type"]) == (504, "timed_out")


def test_what_the_management_port_lists_is_checked(upstream: Upstream) -> None:
    """A name that is no name is left out; a model whose description cannot be read has none."""
    with listening(upstream.app) as address, _app(address) as app:
        (model,) = requests.get(f"{app}/api/models", timeout=60).json()["models"]
    assert (model["id"], model["state"], model["device"], model["description"]) == ("lseg", "ready", None, None)


@contextmanager
def _hanging_up(sent: bytes) -> Iterator[str]:
    """A server that takes one request, sends a few bytes and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(sent)

        thread = threading.Thread(target=hang_up)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu=http://127.0.0.1:8080", Endpoint("cpu", "http://127.0.0.1:8080", "http://127.0.0.1:8081")),
        ("a=http://[::1]:80/", Endpoint("a", "http://[::1]:80", "http://[::1]:81")),
        ("a=https://x.example,http://127.0.0.1:1/", Endpoint("a", "https://x.example", "http://127.0.0.1:1")),
    ],
)
def test_a_server_is_named_with_its_addresses(text: str, expected: Endpoint) -> None:
    assert Endpoint.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "http://127.0.0.1:8080", "a/b=http://x:1", "a=x:1", "a=ftp://x", "a=http://x:99999", "a=http://x/path", "a=http://",
     "a=http://x:65535", "a=http://u:p@x:1", "a=http://x:1,y", "=http://x:1"],
)  # fmt: skip
def test_what_is_no_server_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match=r"accepted: (NAME=URL|http://HOST:PORT)"):
        Endpoint.parse(text)


def test_free_addresses_answer_nothing() -> None:
    nowhere = free_addresses()
    with listening(create_app(Settings((Endpoint("a", nowhere.inference_url, nowhere.management_url),)))) as app:
        error = error_of(_post(f"{app}/api/models/lseg/segment"))
        (model,) = requests.get(f"{app}/api/models", timeout=60).json()["models"]
    assert (error["code"], error["type"]) == (502, "server_unreachable")
    assert model["state"] == "away"
