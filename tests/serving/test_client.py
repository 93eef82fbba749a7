"""Both clients at a real TorchServe: every format and kind of image, scaling, and workers that die."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from lseg_serve.client import (
    AsyncLSegClient,
    BadAnswer,
    Document,
    LSegClient,
    Mask,
    Overloaded,
    Parts,
    Picture,
    Refused,
    Report,
    Retries,
    Scores,
)
from lseg_serve.server import LocalServer
from tests.serving.conftest import LABEL_SET
from tests.support.clients import KINDS, called
from tests.support.scripted import Scripted, serving

LABELS = ["sky", "grass, wet", "猫", "other"]


def _raw(url: str, image: bytes, **fields: str) -> bytes:
    """What the server answers to a client that is not the project's."""
    data = {"labels": json.dumps(LABELS), **fields}
    answer = requests.post(url, files={"image": image}, data=data, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.content


def _client(server: LocalServer, **options: Any) -> dict[str, Any]:
    return {"management_url": server.addresses.management_url, **options}


def _segmented(kind: str, server: LocalServer, image: object, labels: object = LABELS, **options: Any) -> Any:
    return called(kind, "segment", server.addresses.inference_url, image, labels, **options)


@pytest.mark.parametrize("kind", KINDS)
class TestAnswers:
    """Each format holds what the server sent."""

    def test_png(self, kind: str, server: LocalServer, url: str, photo: bytes) -> None:
        mask = _segmented(kind, server, photo, threshold=0.4)
        assert isinstance(mask, Mask)
        assert mask.png == _raw(url, photo, threshold="0.4")
        assert mask.indices.shape == (300, 451)
        assert [entry.name for entry in mask.legend] == LABELS
        assert mask.device == "cpu"
        assert set(mask.timings_ms) == {"decode", "text", "network", "mask"}

    @pytest.mark.parametrize("format", ["color", "overlay"])
    def test_pictures(self, format: str, kind: str, server: LocalServer, url: str, photo: bytes) -> None:  # noqa: A002
        picture = _segmented(kind, server, photo, format=format, alpha=0.25)
        assert isinstance(picture, Picture)
        assert picture.png == _raw(url, photo, format=format, alpha="0.25")
        assert picture.image().size == (451, 300)
        assert picture.legend == _segmented(kind, server, photo).legend
        assert picture.legend_is_whole

    @pytest.mark.parametrize("geometry", ["rle", "polygons", "label_studio"])
    def test_json(self, geometry: str, kind: str, server: LocalServer, url: str, photo: bytes) -> None:
        report = _segmented(kind, server, photo, format="json", geometry=geometry)
        assert isinstance(report, Report)
        raw = json.loads(_raw(url, photo, format="json", geometry=geometry))
        said = json.loads(report.model_dump_json(exclude={"timings_ms", "mask"}))
        none = dict.fromkeys(("rle", "polygons", "label_studio"))
        assert said["labels"] == [{**none, **one} for one in raw["labels"]]
        assert {name: said[name] for name in said if name != "labels"} == {
            name: raw[name] for name in raw if name not in ("labels", "timings_ms", "mask")
        }
        np.testing.assert_array_equal(report.mask.indices, _segmented(kind, server, photo).indices)
        assert set(report.timings_ms) == {"decode", "text", "network", "mask"}

    def test_npz(self, kind: str, server: LocalServer, url: str, photo: bytes) -> None:
        scores = _segmented(kind, server, photo, format="npz")
        assert isinstance(scores, Scores)
        with np.load(io.BytesIO(_raw(url, photo, format="npz"))) as raw:
            np.testing.assert_array_equal(scores.scores, raw["scores"])
        assert scores.labels == tuple(LABELS)
        assert scores.image_size == (300, 451)

    def test_zip(self, kind: str, server: LocalServer, url: str, photo: bytes) -> None:
        parts = _segmented(kind, server, photo, format="zip")
        assert isinstance(parts, Parts)
        assert parts.zip == _raw(url, photo, format="zip")
        assert parts.overlay == _segmented(kind, server, photo, format="overlay").png
        present = {entry.index for entry in parts.mask.legend if parts.mask.share(entry) > 0}
        assert set(parts.cutouts) == present

    @pytest.mark.parametrize("format", ["coco", "hf"])
    def test_documents(self, format: str, kind: str, server: LocalServer, url: str, photo: bytes) -> None:  # noqa: A002
        document = _segmented(kind, server, photo, format=format, parts="apart")
        assert isinstance(document, Document)
        assert document.body == _raw(url, photo, format=format, parts="apart")
        assert document.content == json.loads(document.body)
        assert document.device == "cpu"

    def test_accurate_mode(self, kind: str, server: LocalServer, url: str, photo: bytes) -> None:
        assert _segmented(kind, server, photo, mode="accurate").png == _raw(url, photo, mode="accurate")


@pytest.mark.parametrize("kind", KINDS)
class TestImages:
    """Each kind of image comes to the server as the same pixels."""

    def test_a_file_is_sent_as_it_is(
        self, kind: str, server: LocalServer, url: str, photo: bytes, tmp_path: Path
    ) -> None:
        path = tmp_path / "图片.jpg"
        path.write_bytes(photo)
        expected = _raw(url, photo)
        with serving(Scripted(302, headers={"Location": "/b.jpg"}), Scripted(200, photo)) as images:
            for image in (path, str(path), bytearray(photo), memoryview(photo), f"{images.url}/a.jpg"):
                assert _segmented(kind, server, image).png == expected
        assert [asked.path for asked in images.asked] == ["/a.jpg", "/b.jpg"]

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "HSV", "RGBa"])
    def test_pictures_and_arrays_are_sent_as_their_pixels(
        self, mode: str, kind: str, server: LocalServer, url: str, photo: bytes
    ) -> None:
        """The independent request holds what the picture shows: a PNG by Pillow of the picture over white."""
        with Image.open(io.BytesIO(photo)) as opened:
            picture = opened.convert("RGBA").convert(mode) if mode == "RGBa" else opened.convert(mode)
        shown = io.BytesIO()
        picture.convert("RGB" if mode != "RGBa" else "RGBA").save(shown, "PNG")
        expected = _segmented(kind, server, picture).indices
        assert expected.shape == (300, 451)
        if mode != "CMYK":  # which the server converts as browsers do, and Pillow otherwise
            np.testing.assert_array_equal(expected, _segmented(kind, server, shown.getvalue()).indices)
        if mode in ("RGB", "RGBA", "L"):
            np.testing.assert_array_equal(_segmented(kind, server, np.asarray(picture)).indices, expected)

    def test_an_array_may_lie_in_memory_in_any_way(
        self, kind: str, server: LocalServer, url: str, photo: bytes
    ) -> None:
        with Image.open(io.BytesIO(photo)) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        turned = np.asfortranarray(pixels)[::-1, :, ::-1]
        expected = _segmented(kind, server, np.ascontiguousarray(turned)).png
        assert _segmented(kind, server, turned).png == expected


@pytest.mark.parametrize("kind", KINDS)
class TestRefusals:
    """What a real server says no to."""

    def test_a_field_at_fault(self, kind: str, server: LocalServer, photo: bytes) -> None:
        with pytest.raises(Refused, match=r"400: label 'cat' is given twice") as raised:
            _segmented(kind, server, photo, ["cat", "cat"])
        assert (raised.value.type, raised.value.field) == ("invalid_labels", "labels")
        with pytest.raises(Refused, match="unknown field 'colour'") as raised:
            _segmented(kind, server, photo, colour="red")
        assert raised.value.type == "invalid_option"

    def test_no_image(self, kind: str, server: LocalServer) -> None:
        with pytest.raises(Refused, match=r"415: this is a PDF") as raised:
            _segmented(kind, server, b"%PDF-1.7")
        assert raised.value.field == "image"

    def test_an_upload_that_is_too_large(self, kind: str, server: LocalServer) -> None:
        """The server takes 8 MB. It refuses before it has read all, and without a word."""
        with pytest.raises(Refused, match=r"413: the request is larger than the server accepts") as raised:
            _segmented(kind, server, bytes(9_000_000))
        assert raised.value.status == 413

    def test_an_answer_that_would_be_too_large(self, kind: str, server: LocalServer) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (1000, 1200, 3), dtype=np.uint8)
        with pytest.raises(Refused, match="413: the response has") as raised:
            _segmented(kind, server, noise, format="overlay", alpha=0)
        assert raised.value.type == "response_too_large"

    def test_a_model_that_is_not_there(self, kind: str, server: LocalServer, photo: bytes) -> None:
        client = _client(server, model="absent")
        with pytest.raises(Refused, match="404") as raised:
            called(kind, "segment", server.addresses.inference_url, photo, client=client)
        assert raised.value.type == "ModelNotFoundException"
        assert called(kind, "ready", server.addresses.inference_url, client=client) is False


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_describes_itself(kind: str, server: LocalServer) -> None:
    description = called(kind, "describe", server.addresses.inference_url, client=_client(server))
    assert (description.model, description.version, description.device) == ("lseg", "1.0", description.device)
    assert description.device.startswith("cpu")
    assert list(description.label_set.labels) == LABEL_SET
    assert description.limits.max_labels == 255
    assert set(description.request["properties"]) >= {"image", "labels", "format", "mode", "threshold"}
    assert [worker.pid for worker in description.workers] == [worker["pid"] for worker in server.workers("lseg")]
    called(kind, "ping", server.addresses.inference_url)


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_under_requests_fails_none(kind: str, server: LocalServer, url: str, photo: bytes) -> None:
    """One worker, two, and one again, while requests go on. Then none, and one."""
    expected = _raw(url, photo)
    masks: list[Mask] = []
    stop = threading.Event()
    options = _client(server)
    address = server.addresses.inference_url

    def ask() -> None:
        with LSegClient(address) as client:
            while not stop.is_set():
                masks.append(client.segment(photo, LABELS))

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        try:
            two = called(kind, "scale", address, 2, client=options)
            one = called(kind, "scale", address, 1, client=options)
        finally:
            stop.set()
    assert [future.exception() for future in asking] == [None] * 3
    assert len(masks) > 10
    assert {mask.png for mask in masks} == {expected}
    assert (len(two), len(one)) == (2, 1)
    assert {worker.status for worker in (*two, *one)} == {"READY"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_workers_is_overloaded_until_it_has_one(kind: str, server: LocalServer, photo: bytes) -> None:
    address, options = server.addresses.inference_url, _client(server, retries=Retries(attempts=2, first_wait=0.1))
    try:
        assert called(kind, "scale", address, 0, client=options) == ()
        assert called(kind, "ready", address, client=options) is False
        with pytest.raises(Overloaded, match=r"503: .*no worker"):
            called(kind, "segment", address, photo, client=options)
        with pytest.raises((Refused, BadAnswer)):
            called(kind, "describe", address, client=options)
    finally:
        called(kind, "scale", address, 1, client=options)
    assert called(kind, "ready", address, client=options) is True
    assert called(kind, "segment", address, photo, client=options).indices.shape == (300, 451)


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_is_killed_costs_no_request(kind: str, server: LocalServer, url: str, photo: bytes) -> None:
    """Twelve requests, at most four at once; the worker is killed when the first has been answered."""
    expected = _raw(url, photo)
    (worker,) = server.workers("lseg")
    victim = psutil.Process(worker["pid"])
    address = server.addresses.inference_url
    killed = threading.Event()

    def kill() -> None:
        if not killed.is_set():
            killed.set()
            victim.kill()

    if kind == "threads":
        with LSegClient(address, max_concurrency=4) as client, ThreadPoolExecutor(12) as pool:

            def ask(_: int) -> bytes:
                png = client.segment(photo, LABELS).png
                kill()
                return png

            answers = list(pool.map(ask, range(12)))
    else:

        async def ask_all() -> list[bytes]:
            async with AsyncLSegClient(address, max_concurrency=4) as client:

                async def one() -> bytes:
                    png = (await client.segment(photo, LABELS)).png
                    kill()
                    return png

                return list(await asyncio.gather(*(one() for _ in range(12))))

        answers = asyncio.run(ask_all())
    assert killed.is_set()
    assert answers == [expected] * 12
    (now,) = server.workers("lseg")
    assert now["pid"] != worker["pid"]
