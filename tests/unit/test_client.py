"""The client, at a small local server that responds as TorchServe does."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lseg_serve.client import BadAnswer, ClientError, LegendEntry, LSegClient, Refused
from lseg_serve.client.__main__ import main
from tests.support.scripted import Scripted, serving


def _torchserve_error(message: str, status: int = 500, **headers: str) -> Scripted:
    """TorchServe's own error: not the JSON of the handler."""
    body = json.dumps({"code": status, "type": "InternalServerException", "message": message}).encode()
    return Scripted(status, body, headers)


INDICES = [[0, 0, 0], [1, 1, 255]]


CAT, JAPAN = ({"index": 0, "name": "cat", "color": "#ff0000"}, {"index": 1, "name": "日本", "color": "#00ff00"})


def _mask_png(legend: str | None = None, mode: str = "P") -> bytes:
    """A mask with `legend` in its text chunk; without one, there is none."""
    image = Image.fromarray(np.array(INDICES, dtype=np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0] + 254 * [0, 0, 0])
    image = image if mode == "P" else image.convert(mode)
    text = PngImagePlugin.PngInfo()
    if legend is not None:
        text.add_itxt("legend", legend)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


MASK = Scripted(200, _mask_png(json.dumps([CAT, JAPAN])))


def test_a_mask_comes_with_its_legend() -> None:
    with serving(MASK) as server, LSegClient(f"{server.url}/", "other") as client:
        mask = client.segment(b"image bytes", ["cat", "日本"], threshold=0.25, mode="accurate")
    assert mask.png == MASK.body
    np.testing.assert_array_equal(mask.indices, INDICES)
    assert mask.legend == (LegendEntry(0, "cat", "#ff0000"), LegendEntry(1, "日本", "#00ff00"))
    assert [mask.share(entry) for entry in mask.legend] == [pytest.approx(3 / 6), pytest.approx(2 / 6)]
    assert [asked.path for asked in server.asked] == ["/predictions/other"]
    for part in (b"image bytes", json.dumps(["cat", "日本"]).encode(), b"0.25", b"accurate"):
        assert part in server.asked[0].body


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (_torchserve_error("something else"), "500: something else"),
        (_torchserve_error("Worker died.", 413), "413: Worker died"),
        (Scripted(415, json.dumps({"error": {"message": "not an image"}}).encode()), "415: not an image"),
        (Scripted(404), "404: Not Found"),
        (Scripted(413), r"413: the request is larger than the server accepts \(max_request_size"),
        (Scripted(302, headers={"Location": "/"}), "302: Found"),
        (Scripted(500, b"[" * 100_000), r"500: \[\[\["),
        (Scripted(400, b'{"error": {"message": {}}}'), "400: "),
    ],
    ids=["500", "worker killed for its memory", "415", "404", "413", "302", "deep", "no text"],
)
def test_any_other_error_is_reported_at_once(reply: Scripted, message: str) -> None:
    with (
        serving(reply, MASK) as server,
        LSegClient(server.url) as client,
        pytest.raises(Refused, match=message) as raised,
    ):
        client.segment(b"image", ["cat"])
    assert raised.value.status == reply.status
    assert len(server.asked) == 1


def test_a_refusal_says_which_field_is_at_fault() -> None:
    error = {"code": 400, "type": "invalid_labels", "message": "label 'cat' is given twice", "field": "labels"}
    with (
        serving(Scripted(400, json.dumps({"error": error}).encode())) as server,
        LSegClient(server.url) as client,
        pytest.raises(Refused) as raised,
    ):
        client.segment(b"image", ["cat", "cat"])
    found = raised.value
    assert (found.status, found.type, found.message, found.field) == tuple(error.values())


@pytest.mark.parametrize("text", ["cat,dog", "cat\u3001dog", '["cat", "dog"]', "\ufeffcat\ndog"])
def test_the_command_takes_labels_as_a_request_does(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.png").write_bytes(MASK.body)
    with serving(MASK) as server:
        options = ["--labels", text, "--url", server.url, "--output", str(tmp_path / "mask.png")]
        monkeypatch.setattr(sys, "argv", ["client", str(tmp_path / "x.png"), *options])
        assert main() == 0
    assert b'["cat", "dog"]' in server.asked[0].body
    assert "mask.png: 3x2" in capsys.readouterr().out


def test_the_command_refuses_labels_that_are_none_before_it_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["client", "x.png", "--labels", "cat;dog"])
    with pytest.raises(SystemExit):
        main()
    assert "that holds ';'; accepted: labels separated by commas" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>a proxy's page</html>", "no PNG that can be read"),
        (_mask_png("[]", mode="RGB"), "not of one index for each pixel"),
        (_mask_png(), "has no legend"),
        (_mask_png("{"), "legend is no JSON"),
        (_mask_png("[" * 100_000), "legend is no JSON"),
        (_mask_png('"cat"'), 'legend is "cat"; expected: a list'),
        (_mask_png("[3]"), "entry 3; expected: an index from 0 to 254, a name, and a color"),
        (_mask_png(json.dumps([{"index": 0, "name": "cat"}])), "entry {.*}; expected"),
        (_mask_png(json.dumps([{**CAT, "index": 255}])), "entry {.*255.*}; expected"),
        (_mask_png(json.dumps([{**CAT, "index": True}])), "entry {.*true.*}; expected"),
        (_mask_png(json.dumps([{**CAT, "color": "\x1b[31m"}])), r"u001b\[31m.*expected"),
    ],
    ids=[
        "html",
        "rgb",
        "no legend",
        "broken",
        "deep",
        "a text",
        "a number",
        "no color",
        "out of range",
        "no index",
        "an odd color",
    ],
)
def test_what_is_no_mask_is_an_error_in_words(body: bytes, message: str) -> None:
    with (
        serving(Scripted(200, body)) as server,
        LSegClient(server.url) as client,
        pytest.raises(BadAnswer, match=message),
    ):
        client.segment(b"image", ["cat"])


def test_a_newer_server_may_say_more_of_a_label() -> None:
    with (
        serving(Scripted(200, _mask_png(json.dumps([{**CAT, "area": 3}])))) as server,
        LSegClient(server.url) as client,
    ):
        assert client.segment(b"image").legend == (LegendEntry(0, "cat", "#ff0000"),)


def test_the_terminal_does_not_obey_a_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(b"image")
    name = "cat\x1b]0;title\x07\x1b[2J\u202etac\r\n 日本 👩\u200d👧\ud800"
    with serving(Scripted(200, _mask_png(json.dumps([{**CAT, "name": name}])))) as server:
        arguments = ["client", str(image), "--url", server.url, "--output", str(tmp_path / "mask.png")]
        monkeypatch.setattr(sys, "argv", arguments)
        assert main() == 0
    shown = capsys.readouterr().out
    assert r"cat\x1b]0;title\x07\x1b[2J\u202etac\r\n 日本 👩‍👧\ud800" in shown
    assert not set(shown) & set("\x1b\x07\r\u202e")


def test_the_terminal_does_not_obey_an_error() -> None:
    reply = Scripted(400, json.dumps({"error": {"message": "label '\x1b[2J'"}}).encode())
    with serving(reply) as server, LSegClient(server.url) as client, pytest.raises(ClientError) as raised:
        client.segment(b"image", ["cat"])
    assert str(raised.value) == r"400: label '\x1b[2J'"
