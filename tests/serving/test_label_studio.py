"""The backend for Label Studio before a real TorchServe. Label Studio itself is a stub: a server of its files' routes.

tests/annotation has the real one.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import requests
from PIL import Image, ImageDraw

from lseg_serve.client import read_mask
from lseg_serve.server import LocalServer
from tests.serving.conftest import predicted
from tests.support.label_studio import running_backend, unpacked
from tests.support.pictures import encoded, gradient, noise

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PICTURE = gradient(90, 120)
UPLOAD, LOCAL, CLOUD = "/data/upload/1/a.png", "/data/local-files/?d=photos/a.png", "s3://bucket/a.png"
CONFIG = """<View><Image name="image" value="$image"/><TextArea name="words" toName="image"/>
<BrushLabels name="tag" toName="image"><Label value="sky"/><Label value="plant" alias="P" predicted_values="tree,lawn"/>
<Label value="found" predicted_values="$words"/></BrushLabels></View>"""
WORDS = ["sky", "tree|lawn"]  # as a request has a group


class _Files(BaseHTTPRequestHandler):
    """Label Studio's routes of files, for whoever has the token; and a page of its API, which it must not ask for."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:  # noqa: N802 - the standard library's name
        self.asked.append((self.path, self.headers.get("Authorization")))
        parts = urlsplit(self.path)
        named = {
            UPLOAD: encoded(PICTURE),
            LOCAL: encoded(PICTURE[::-1]),
            "/data/upload/1/noise.png": encoded(noise(60, 80)),
            "/data/upload/1/text.png": b"no image",
            "/api/current-user/token": encoded(PICTURE),
        }
        content = named.get(self.path)
        if parts.path == "/tasks/7/presign/":
            uri = base64.urlsafe_b64decode(parse_qs(parts.query)["fileuri"][0]).decode()
            content = encoded(PICTURE) if uri == CLOUD else None
        status = 401 if self.headers.get("Authorization") != f"Token {TOKEN}" else 200 if content else 404
        body = content if content and status == 200 else b"no"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Nothing."""


@pytest.fixture(scope="module")
def studio() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """The stub's address, and what it was asked: paths, with the header Authorization."""
    asked: list[tuple[str, str | None]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Files", (_Files,), {"asked": asked})) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def backend(server: LocalServer, studio: tuple[str, Any]) -> Iterator[str]:
    """A backend that knows the owner's token, as `/setup` brings it."""
    with running_backend(server, studio[0], "--min-share", "0") as (url, log):
        assert _setup(url, CONFIG, studio[0]).startswith("lseg 1.0 (")
        yield url
    assert TOKEN not in "".join(log)
    assert "project 1.5, task 7: " in "".join(log)


def _setup(url: str, config: str, studio: str) -> str:
    body = {"project": "1.5", "schema": config, "hostname": studio, "access_token": TOKEN, "extra_params": None}
    answer = requests.post(f"{url}/setup", json=body, timeout=30)
    assert answer.status_code == 200
    version: str = answer.json()["model_version"]
    return version


def _predict(url: str, *tasks: dict[str, Any], config: str = CONFIG) -> list[dict[str, Any]]:
    params = {"login": None, "password": None, "context": None}
    body = {"tasks": tasks, "project": "1.5", "label_config": config, "params": params}
    answer = requests.post(f"{url}/predict", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    assert len(results) == len(tasks)
    return results


def _task(image: object, **more: object) -> dict[str, Any]:
    return {"id": 7, "data": {"image": image}, "annotations": [], "predictions": [], "drafts": [], **more}


def _words(region: dict[str, Any], kind: str) -> str:
    """The words that found a region, as a request has them: in its note where they are not the label itself."""
    (label,) = region["value"][kind]
    return str(region["meta"]["text"][0] if "meta" in region else label).replace(", ", "|")


def _mask_of(server: LocalServer, words: Sequence[str], picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return read_mask(predicted(server, words, picture).content).indices


@pytest.mark.parametrize(("image", "picture"), [(UPLOAD, PICTURE), (LOCAL, PICTURE[::-1]), (CLOUD, PICTURE)])
def test_brush_regions_are_exactly_the_endpoints_mask(
    backend: str, server: LocalServer, image: str, picture: npt.NDArray[np.uint8]
) -> None:
    (found,) = _predict(backend, _task(image))
    mask = _mask_of(server, WORDS, picture)
    drawn = np.full(mask.shape, 255, np.uint8)
    for region in found["result"]:
        word = _words(region, "brushlabels")
        assert region["value"]["brushlabels"] == [{"sky": "sky", "tree|lawn": "P"}[word]]
        assert (region["original_height"], region["original_width"]) == mask.shape
        assert 0 < region["score"] <= 1
        drawn[unpacked(region["value"]["rle"], mask.shape)] = WORDS.index(word)
    assert np.array_equal(drawn, mask)
    assert 0 < found["score"] <= 1
    assert found["model_version"].startswith("lseg 1.0 (")


def test_words_that_were_written_in_the_text_area_are_asked_for(backend: str, server: LocalServer) -> None:
    written = {"type": "textarea", "from_name": "words", "to_name": "image", "value": {"text": ["water, house"]}}
    plain, more = _predict(backend, _task(UPLOAD), _task(UPLOAD, annotations=[{"result": [written]}]))
    words = [*WORDS, "water", "house"]
    mask = _mask_of(server, words, PICTURE)
    found = {region["meta"]["text"][0] for region in more["result"] if region["value"]["brushlabels"] == ["found"]}
    assert found == {words[index] for index in np.unique(mask) if index > 1}
    assert found  # the picture was chosen so
    assert (plain["model_version"].split(" + ")[1], more["model_version"].split(" + ")[1]) == (
        "no words", "water, house"
    )  # fmt: skip


def test_small_and_background_words_make_no_region(server: LocalServer, studio: tuple[str, Any]) -> None:
    with running_backend(server, studio[0], "--min-share", "0.2", "--background", "house") as (url, _):
        _setup(url, CONFIG, studio[0])
        (found,) = _predict(url, _task("/data/upload/1/noise.png"))
    mask = _mask_of(server, [*WORDS, "house"], noise(60, 80))
    enough = {WORDS[index] for index in range(2) if np.mean(mask == index) >= 0.2}
    assert {_words(one, "brushlabels") for one in found["result"]} == enough


def test_polygons_cover_the_mask(backend: str, server: LocalServer) -> None:
    config = CONFIG.replace("BrushLabels", "PolygonLabels")
    (found,) = _predict(backend, _task(UPLOAD), config=config)
    assert {one["type"] for one in found["result"]} == {"polygonlabels"}
    mask = _mask_of(server, WORDS, PICTURE)
    drawn = Image.new("L", (120, 90), 255)
    for region in found["result"]:  # the largest label first, so that small ones lie in its holes
        points = [(x * 1.2 - 0.5, y * 0.9 - 0.5) for x, y in region["value"]["points"]]  # PIL counts from centres
        ImageDraw.Draw(drawn).polygon(points, fill=WORDS.index(_words(region, "polygonlabels")))
    # What differs lies beside an outline: the tolerance is one pixel, and a drawn polygon has its border pixels.
    border = np.zeros(mask.shape, np.uint8)
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    border[1:] |= mask[1:] != mask[:-1]
    near = cv2.dilate(border, np.ones((5, 5), np.uint8)) > 0
    assert near.mean() < 0.6
    assert np.array_equal(np.asarray(drawn)[~near], mask[~near])


@pytest.mark.parametrize(
    ("task", "config", "message"),
    [
        (_task("http://169.254.169.254/latest/meta-data"), CONFIG, "Failed: links to the host '169.254.169.254'"),
        (_task("/api/current-user/token"), CONFIG, "Failed: the path '/api/current-user/token' is none of"),
        (_task("/data/upload/1/gone.png"), CONFIG, "gone.png' cannot be fetched"),
        (_task("/data/upload/1/text.png"), CONFIG, "Failed: 415: the 8 bytes sent are not an image"),
        (_task(None), CONFIG, "Failed: the task's image is None"),
        ({"id": 7, "data": {"photo": UPLOAD}}, CONFIG, "no field 'image' with an image; it has 'photo'"),
        (_task(UPLOAD), CONFIG.replace("BrushLabels", "RectangleLabels"), "Failed: the labelling configuration has"),
        (_task(UPLOAD), CONFIG.replace("tree,lawn", "sky"), "Failed: the word 'sky' belongs to two labels"),
        (_task(UPLOAD), CONFIG.replace("tree", "t" * 9999), "Failed: 400: "),
    ],
)
def test_what_cannot_be_answered_is_said_and_the_others_go_on(
    backend: str, task: dict[str, Any], config: str, message: str
) -> None:
    bad, good = _predict(backend, task, _task(UPLOAD), config=config)
    assert bad["result"] == []
    assert message in bad["model_version"]
    if config == CONFIG:
        assert good["result"]


def test_only_files_are_asked_for_with_the_token(
    backend: str, studio: tuple[str, list[tuple[str, str | None]]]
) -> None:
    _predict(backend, _task("/api/current-user/token"), _task(UPLOAD))
    assert (UPLOAD, f"Token {TOKEN}") in studio[1]
    assert not [path for path, _ in studio[1] if path.startswith("/api")]


def test_versions_tell_of_configuration_and_options(backend: str, server: LocalServer, studio: tuple[str, Any]) -> None:
    first = _setup(backend, CONFIG, studio[0])
    assert first == _setup(backend, CONFIG, studio[0])
    assert first != _setup(backend, CONFIG.replace("tree", "bush"), studio[0])
    assert _setup(backend, "<View/>", studio[0]).startswith("Failed: the labelling configuration has no control")
    with running_backend(server, studio[0], "--mode", "accurate") as (url, _):
        assert first != _setup(url, CONFIG, studio[0])


def test_a_server_that_is_away_is_said(server: LocalServer, studio: tuple[str, Any]) -> None:
    with running_backend(
        server, studio[0], "--url", "http://127.0.0.1:1", "--management-url", "http://127.0.0.1:1"
    ) as (
        url,
        _,
    ):
        assert _setup(url, CONFIG, studio[0]).startswith("lseg (")
        (found,) = _predict(url, _task(UPLOAD))
    assert "Failed: no answer from http://127.0.0.1:1/predictions/lseg" in found["model_version"]


def test_health_webhook_and_bad_calls(backend: str) -> None:
    assert requests.get(f"{backend}/health", timeout=30).json() == {"status": "UP", "model_class": "LSeg"}
    assert requests.post(f"{backend}/webhook", json={"action": "TASKS_CREATED"}, timeout=30).status_code == 201
    bad = requests.post(f"{backend}/setup", json={"access_token": {"secret": 1}}, timeout=30)
    assert (bad.status_code, "access_token" in bad.text, "secret" in bad.text) == (400, True, False)
    assert (
        requests.post(
            f"{backend}/predict", data="[", headers={"Content-Type": "application/json"}, timeout=30
        ).status_code
        == 400
    )
    page = requests.post(
        f"{backend}/setup", data='{"access_token": "x"}', headers={"Content-Type": "text/plain"}, timeout=30
    )
    assert page.status_code == 415
    assert requests.get(f"{backend}/predict", timeout=30).status_code == 405


def test_a_login_is_asked_for_where_one_is_set(server: LocalServer, studio: tuple[str, Any]) -> None:
    with running_backend(server, studio[0], LSEG_LABEL_STUDIO_LOGIN="name:pass:word") as (url, _):
        assert requests.get(f"{url}/health", timeout=30).status_code == 401
        assert requests.get(f"{url}/health", auth=("name", "pass"), timeout=30).status_code == 401
        assert requests.get(f"{url}/health", auth=("name", "pass:word"), timeout=30).status_code == 200
        assert requests.post(f"{url}/setup", json={}, timeout=30).status_code == 401
