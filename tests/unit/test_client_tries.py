"""When a request is sent again, and when a client gives up: at a small local server, with threads and with asyncio."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from lseg_serve.client import (
    AsyncLSegClient,
    BadInput,
    LSegClient,
    NotReady,
    Overloaded,
    Refused,
    Retries,
    TimedOut,
    Unreachable,
    WorkerDied,
)
from tests.support.clients import KINDS, called
from tests.support.scripted import Scripted, serving

pytestmark = pytest.mark.parametrize("kind", KINDS)


def _mask() -> Scripted:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("legend", json.dumps([{"index": 0, "name": "cat", "color": "#ff0000"}]))
    buffer = io.BytesIO()
    Image.new("L", (3, 2)).save(buffer, "PNG", pnginfo=text)
    return Scripted(200, buffer.getvalue())


def _error(status: int, message: str, type: str = "InternalServerException", **headers: str) -> Scripted:  # noqa: A002
    return Scripted(status, json.dumps({"code": status, "type": type, "message": message}).encode(), headers)


MASK = _mask()
DIED = _error(500, "Worker died.")
FULL = _error(503, 'Model "lseg" has no worker to serve inference request.', "ServiceUnavailableException")
LOADING = Scripted(503, b'{"error": {"code": 503, "type": "not_ready", "message": "loading", "field": null}}')
QUICK = {"retries": Retries(first_wait=0.01)}


def _segmented(kind: str, url: str, **client: Any) -> Any:
    return called(kind, "segment", url, b"image", ["cat"], client={**QUICK, **client})


@pytest.mark.parametrize(
    "reply",
    [DIED, _error(503, "Worker died."), _error(507, "Worker died."), FULL, LOADING],
    ids=["500", "503", "507", "full", "loading"],
)
def test_a_request_that_may_pass_is_sent_once_more(reply: Scripted, kind: str) -> None:
    with serving(reply, MASK) as server:
        assert _segmented(kind, server.url).png == MASK.body
    first, second = server.asked
    assert first.body == second.body, "the second try is the same request"


@pytest.mark.parametrize(("reply", "error"), [(FULL, Overloaded), (LOADING, NotReady)], ids=["full", "loading"])
def test_tries_end_by_their_number(reply: Scripted, error: type[Refused], kind: str) -> None:
    with serving(reply) as server, pytest.raises(error) as raised:
        _segmented(kind, server.url, retries=Retries(attempts=3, first_wait=0.01))
    assert raised.value.status == 503
    assert len(server.asked) == 3


def test_a_request_that_ends_workers_is_sent_three_times_at_most(kind: str) -> None:
    with serving(DIED) as server, pytest.raises(WorkerDied, match="500: Worker died"):
        _segmented(kind, server.url)
    assert len(server.asked) == 3


def test_waits_grow(kind: str) -> None:
    with serving(FULL, FULL, FULL, MASK) as server:
        _segmented(kind, server.url, retries=Retries(first_wait=0.1))
    times = [asked.at for asked in server.asked]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap >= least for gap, least in zip(gaps, (0.05, 0.1, 0.2), strict=True))


def test_retry_after_is_waited_for(kind: str) -> None:
    with serving(_error(503, "later", **{"Retry-After": "1"}), MASK) as server:
        _segmented(kind, server.url)
    assert server.asked[1].at - server.asked[0].at >= 1


def test_a_retry_after_beyond_the_total_ends_the_tries_at_once(kind: str) -> None:
    with serving(_error(503, "later", **{"Retry-After": "100"}), MASK) as server, pytest.raises(Overloaded) as raised:
        _segmented(kind, server.url, retries=Retries(total=50))
    assert len(server.asked) == 1
    assert raised.value.retry_after == "100"


def test_an_answer_that_takes_too_long_to_begin_is_a_time_out(kind: str) -> None:
    with serving(Scripted(200, MASK.body, seconds=1)) as server, pytest.raises(TimedOut, match=r"within 0\.2 s"):
        _segmented(kind, server.url, timeout=0.2)
    assert len(server.asked) == 1


def test_an_answer_that_trickles_is_a_time_out(kind: str) -> None:
    """Each piece comes in time; the whole does not."""
    with serving(Scripted(200, bytes(20), seconds=0.1, pieces=20)) as server, pytest.raises(TimedOut):
        _segmented(kind, server.url, timeout=0.5)


def test_nobody_there_is_said_with_the_address(kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable, match=f"no answer from {url}/predictions/lseg: .*"):
            _segmented(kind, url)
        with pytest.raises(Unreachable):
            called(kind, "ping", url)
        assert called(kind, "ready", "http://127.0.0.1:8080", client={"management_url": url}) is False


def test_an_answer_that_is_cut_is_unreachable(kind: str) -> None:
    with serving(Scripted(200, MASK.body, missing=10)) as server, pytest.raises(Unreachable, match="no answer from"):
        _segmented(kind, server.url)
    assert len(server.asked) == 1, "only a 503 and a worker's death are worth another try"


def test_requests_at_once_are_bounded(kind: str) -> None:
    with serving(Scripted(200, MASK.body, seconds=0.05)) as server:
        if kind == "threads":
            with LSegClient(server.url, max_concurrency=2) as client, ThreadPoolExecutor(6) as pool:
                masks = list(pool.map(lambda _: client.segment(b"image"), range(12)))
        else:

            async def ask() -> list[Any]:
                async with AsyncLSegClient(server.url, max_concurrency=2) as client:
                    return list(await asyncio.gather(*(client.segment(b"image") for _ in range(12))))

            masks = asyncio.run(ask())
    assert [mask.png for mask in masks] == [MASK.body] * 12
    assert server.most_at_once == 2


def test_a_call_that_ends_early_leaves_its_place_to_the_next(kind: str) -> None:
    """With threads by a time-out, with asyncio by being cancelled."""

    async def ask(url: str) -> bytes:
        async with AsyncLSegClient(url, max_concurrency=1) as client:
            first = asyncio.create_task(client.segment(b"image"))
            while not server.asked:
                await asyncio.sleep(0.01)
            second = asyncio.create_task(client.segment(b"image"))
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            return (await second).png

    with serving(Scripted(200, MASK.body, seconds=1), MASK) as server:
        if kind == "asyncio":
            assert asyncio.run(ask(server.url)) == MASK.body
        else:
            with LSegClient(server.url, max_concurrency=1, timeout=0.5) as client:
                with pytest.raises(TimedOut):
                    client.segment(b"image")
                assert client.segment(b"image").png == MASK.body
    assert len(server.asked) == 2


def test_an_environment_proxy_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(Scripted(502)) as proxy, serving(MASK) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert _segmented(kind, server.url).png == MASK.body
        assert not proxy.asked
        with pytest.raises(Refused, match="502"):
            _segmented(kind, "http://images.invalid")
        assert len(proxy.asked) == 1, "the proxy is in force for other hosts"


def test_headers_go_to_the_server_and_not_to_the_host_of_an_image(kind: str) -> None:
    with serving(MASK) as server, serving(Scripted(200, b"an image")) as images:
        client = {"headers": {"Authorization": "Bearer secret"}}
        called(kind, "segment", server.url, f"{images.url}/a.png", client=client)
    assert server.asked[0].headers["authorization"] == "Bearer secret"
    assert "authorization" not in images.asked[0].headers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "127.0.0.1:8080"}, "the address is '127.0.0.1:8080'; accepted: http://HOST:PORT"),
        ({"url": "http://127.0.0.1:99999"}, "accepted: http://HOST:PORT"),
        ({"url": "http://[::1"}, "accepted: http://HOST:PORT"),
        ({"management_url": "8081"}, "the address is '8081'"),
        ({"model": ""}, "name of the model is empty"),
        ({"timeout": 0}, "timeout is 0; accepted: more than 0"),
        ({"max_concurrency": 0}, "max_concurrency is 0; accepted: a whole number, 1 or more"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_client_that_cannot_work_is_not_made(arguments: dict[str, Any], message: str, kind: str) -> None:
    with pytest.raises(BadInput, match=message):
        (LSegClient if kind == "threads" else AsyncLSegClient)(**arguments)


def test_a_closed_client_sends_nothing(kind: str) -> None:
    with serving(MASK) as server:
        if kind == "threads":
            client = LSegClient(server.url)
            client.close()
            with pytest.raises(RuntimeError, match="this client is closed"):
                client.segment(b"image")
        else:

            async def ask() -> None:
                client = AsyncLSegClient(server.url)
                await client.close()
                with pytest.raises(RuntimeError, match="this client is closed"):
                    await client.segment(b"image")

            asyncio.run(ask())
    assert not server.asked


def test_the_loop_goes_on_while_a_request_waits(kind: str) -> None:
    """With threads it is other threads that go on."""
    ticks = 0
    with serving(Scripted(200, MASK.body, seconds=0.3)) as server:
        if kind == "threads":
            with LSegClient(server.url) as client:
                thread = threading.Thread(target=client.segment, args=(b"image",))
                thread.start()
                while thread.is_alive():
                    time.sleep(0.01)
                    ticks += 1
        else:

            async def ask() -> int:
                async with AsyncLSegClient(server.url) as client:
                    task, count = asyncio.create_task(client.segment(b"image")), 0
                    while not task.done():
                        await asyncio.sleep(0.01)
                        count += 1
                    await task
                    return count

            ticks = asyncio.run(ask())
    assert ticks > 3
