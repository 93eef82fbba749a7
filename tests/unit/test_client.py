"""The client, at a small local server that responds as TorchServe does."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lseg_serve.client import ClientError, LegendEntry, LSegClient
from lseg_serve.client.__main__ import main


@dataclass(frozen=True)
class Reply:
    """A response of the server below."""

    status: int
    body: bytes


def _torchserve_error(message: str) -> Reply:
    """TorchServe's own error: not the JSON of the handler."""
    return Reply(500, json.dumps({"code": 500, "type": "InternalServerException", "message": message}).encode())


INDICES = [[0, 0, 0], [1, 1, 255]]


def _mask_png() -> bytes:
    image = Image.fromarray(np.array(INDICES, dtype=np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0] + 254 * [0, 0, 0])
    legend = [{"index": 0, "name": "cat", "color": "#ff0000"}, {"index": 1, "name": "日本", "color": "#00ff00"}]
    text = PngImagePlugin.PngInfo()
    text.add_itxt("legend", json.dumps(legend))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


MASK = Reply(200, _mask_png())
WORKER_DIED = _torchserve_error("Worker died.")


@dataclass
class Scripted:
    """A server that sends `replies` in turn, and what was asked of it."""

    replies: list[Reply]
    url: str = ""
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def _serving(*replies: Reply) -> Iterator[Scripted]:
    scripted = Scripted(list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 - the standard library's name
            scripted.paths.append(self.path)
            scripted.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            reply = scripted.replies[len(scripted.paths) - 1]
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Nothing: a test has no use for an access log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scripted.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield scripted
        finally:
            server.shutdown()
            thread.join()


def test_a_mask_comes_with_its_legend() -> None:
    with _serving(MASK) as server, LSegClient(f"{server.url}/", "other") as client:
        mask = client.segment(b"image bytes", ["cat", "日本"], threshold=0.25, mode="accurate")
    assert mask.png == MASK.body
    np.testing.assert_array_equal(mask.indices, INDICES)
    assert mask.legend == (LegendEntry(0, "cat", "#ff0000"), LegendEntry(1, "日本", "#00ff00"))
    assert [mask.share(entry) for entry in mask.legend] == [pytest.approx(3 / 6), pytest.approx(2 / 6)]
    assert server.paths == ["/predictions/other"]
    for part in (b"image bytes", json.dumps(["cat", "日本"]).encode(), b"0.25", b"accurate"):
        assert part in server.bodies[0]


def test_a_request_that_lost_its_worker_is_sent_once_more() -> None:
    with _serving(WORKER_DIED, MASK) as server, LSegClient(server.url) as client:
        assert client.segment(b"image", ["cat"]).png == MASK.body
    boundaries = [body.partition(b"\r\n")[0] for body in server.bodies]
    first, second = (body.replace(boundary, b"") for body, boundary in zip(server.bodies, boundaries, strict=True))
    assert first == second, "the second try is the same request"


def test_a_request_that_lost_its_worker_twice_is_an_error() -> None:
    with (
        _serving(WORKER_DIED, WORKER_DIED) as server,
        LSegClient(server.url) as client,
        pytest.raises(ClientError, match="Worker died") as raised,
    ):
        client.segment(b"image", ["cat"])
    assert raised.value.status == 500
    assert len(server.paths) == 2


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (_torchserve_error("something else"), "500: .*something else"),
        (Reply(503, WORKER_DIED.body), "503: "),
        (Reply(415, json.dumps({"error": {"message": "not an image"}}).encode()), "415: not an image"),
        (Reply(404, b""), "404: Not Found"),
    ],
    ids=["500", "503", "415", "404"],
)
def test_any_other_error_is_reported_at_once(reply: Reply, message: str) -> None:
    with (
        _serving(reply, MASK) as server,
        LSegClient(server.url) as client,
        pytest.raises(ClientError, match=message) as raised,
    ):
        client.segment(b"image", ["cat"])
    assert raised.value.status == reply.status
    assert len(server.paths) == 1


@pytest.mark.parametrize("text", ["cat,dog", "cat\u3001dog", '["cat", "dog"]', "\ufeffcat\ndog"])
def test_the_command_takes_labels_as_a_request_does(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.png").write_bytes(MASK.body)
    with _serving(MASK) as server:
        options = ["--labels", text, "--url", server.url, "--output", str(tmp_path / "mask.png")]
        monkeypatch.setattr(sys, "argv", ["client", str(tmp_path / "x.png"), *options])
        assert main() == 0
    assert b'["cat", "dog"]' in server.bodies[0]
    assert "mask.png: 3x2" in capsys.readouterr().out


def test_the_command_refuses_labels_that_are_none_before_it_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["client", "x.png", "--labels", "cat;dog"])
    with pytest.raises(SystemExit):
        main()
    assert "that holds ';'; accepted: labels separated by commas" in capsys.readouterr().err
