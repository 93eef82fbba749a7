"""The app's routes, in front of a real TorchServe with the bundled model."""

from __future__ import annotations

import base64
import io
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from PIL import Image

from lseg_serve.server import Addresses, LocalServer
from lseg_serve.web import Endpoint, Settings, create_app
from tests.conftest import PROJECT
from tests.serving.conftest import error_of, free_addresses, running
from tests.support.waiting import eventually
from tests.support.web import listening
from tests.web.conftest import endpoint_of

VILLAGE = (PROJECT / "demo" / "pictures" / "village.jpg").read_bytes()
LABELS = "sky,lawn,cottage,other"
SECONDS = 120


def _segment(url: str, model: str = "lseg", **fields: str) -> requests.Response:
    form = {"labels": LABELS, **fields}
    return requests.post(f"{url}/api/models/{model}/segment", files={"image": VILLAGE}, data=form, timeout=SECONDS)


def _asked_directly(server: LocalServer, **fields: str) -> requests.Response:
    form = {"labels": LABELS, **fields}
    url = f"{server.addresses.inference_url}/predictions/lseg"
    return requests.post(url, files={"image": VILLAGE}, data=form, timeout=SECONDS)


@pytest.mark.parametrize("answer_format", ["png", "overlay", "npz", "zip"])
def test_an_answer_is_the_endpoints(app_url: str, endpoint: LocalServer, answer_format: str) -> None:
    passed, direct = _segment(app_url, format=answer_format), _asked_directly(endpoint, format=answer_format)
    assert (passed.status_code, passed.headers["content-type"]) == (200, direct.headers["content-type"])
    assert passed.headers["content-length"] == str(len(passed.content))
    assert passed.headers["x-lseg-legend"] == direct.headers["x-lseg-legend"]
    assert passed.headers["x-lseg-device"] == "cpu"
    assert passed.headers["server-timing"].startswith("decode;dur=")
    if answer_format != "zip":  # a zip holds the time
        assert passed.content == direct.content


def test_of_the_endpoints_headers_only_those_that_are_meant_to_pass_do(app_url: str, endpoint: LocalServer) -> None:
    direct, passed = _asked_directly(endpoint), _segment(app_url)
    assert "x-request-id" in direct.headers
    assert "x-request-id" not in passed.headers
    assert passed.headers["cache-control"] == "no-store"


def test_a_request_in_json_passes(app_url: str) -> None:
    body = {"image": base64.b64encode(VILLAGE).decode(), "labels": ["sky", "lawn"], "format": "json"}
    answer = requests.post(f"{app_url}/api/models/lseg/segment", json=body, timeout=SECONDS)
    assert [label["name"] for label in answer.json()["labels"]] == ["sky", "lawn"]


def test_a_body_that_comes_without_its_length_passes(app_url: str) -> None:
    def parts() -> Iterator[bytes]:
        for start in range(0, len(VILLAGE), 10_000):
            yield VILLAGE[start : start + 10_000]

    headers = {"Content-Type": "image/jpeg", "X-LSeg-Labels": LABELS}
    answer = requests.post(f"{app_url}/api/models/lseg/segment", data=parts(), headers=headers, timeout=SECONDS)
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).size == (1200, 800)


@pytest.mark.parametrize(
    ("fields", "image", "status", "error_type", "field"),
    [
        ({"labels": "sky,sky"}, VILLAGE, 400, "invalid_labels", "labels"),
        ({"mode": "slow"}, VILLAGE, 400, "invalid_option", "mode"),
        ({"colour": "red"}, VILLAGE, 400, "invalid_option", "colour"),
        ({}, b"%PDF-1.7", 415, "unsupported_image", "image"),
        ({}, VILLAGE[:5000], 400, "invalid_image", "image"),
    ],
)
def test_a_workers_error_passes_as_it_is(
    app_url: str, fields: dict[str, str], image: bytes, status: int, error_type: str, field: str
) -> None:
    url = f"{app_url}/api/models/lseg/segment"
    answer = requests.post(url, files={"image": image}, data={"labels": LABELS, **fields}, timeout=SECONDS)
    error = error_of(answer)
    assert (error["code"], error["type"], error["field"]) == (status, error_type, field)


@pytest.mark.parametrize("model", ["nothing", "default/nothing", "other/lseg", "..%2Fmodels", ".."])
def test_an_unknown_model_is_an_error(app_url: str, model: str) -> None:
    answer = requests.post(f"{app_url}/api/models/{model}/segment", files={"image": VILLAGE}, timeout=SECONDS)
    assert error_of(answer)["type"] in ("unknown_model", "not_found")
    assert answer.status_code == 404


def test_models_are_described_without_what_is_the_operators(app_url: str) -> None:
    (model,) = requests.get(f"{app_url}/api/models", timeout=SECONDS).json()["models"]
    assert (model["id"], model["server"], model["model"], model["state"]) == ("lseg", "default", "lseg", "ready")
    assert model["device"].startswith("cpu")
    described = model["description"]
    assert described["label_set"] == (PROJECT / "demo" / "labels.txt").read_text().split("\n")[:-1]
    assert described["formats"] == ["png", "color", "overlay", "json", "npz", "zip", "hf", "coco", "embeddings"]
    assert (described["modes"], described["default_mode"]) == (["fast", "accurate"], "fast")
    assert described["limits"]["max_labels"] == 255
    assert described["limits"]["max_request_bytes"] == 100_000_000
    assert described["precision"] == "float32"
    assert set(described) == {
        "architecture", "precision", "label_set", "limits", "formats", "modes", "default_mode", "hash"
    }  # fmt: skip


def test_two_servers_side_by_side(app_url: str, endpoint: LocalServer) -> None:
    """The second stands in for a Gaudi: the same server under another name."""
    both = (endpoint_of(endpoint, "cpu"), endpoint_of(endpoint, "hpu"))
    with listening(create_app(Settings(both))) as url:
        models = requests.get(f"{url}/api/models", timeout=SECONDS).json()["models"]
        assert [model["id"] for model in models] == ["cpu/lseg", "hpu/lseg"]
        masks = [_segment(url, model["id"]).content for model in models]
    assert masks[0] == masks[1] == _segment(app_url).content


def test_a_server_that_is_away_is_told_and_the_other_goes_on(endpoint: LocalServer) -> None:
    nowhere = free_addresses()
    away = Endpoint("hpu", nowhere.inference_url, nowhere.management_url)
    with listening(create_app(Settings((endpoint_of(endpoint, "cpu"), away)))) as url:
        models = requests.get(f"{url}/api/models", timeout=SECONDS).json()["models"]
        assert [(model["id"], model["state"]) for model in models] == [("cpu/lseg", "ready"), ("hpu/lseg", "away")]
        assert error_of(_segment(url, "hpu/lseg"))["type"] == "server_unreachable"
        assert _segment(url, "cpu/lseg").status_code == 200


def test_a_server_that_stops_and_comes_back(bundled_archive: Path, tmp_path: Path) -> None:
    addresses = free_addresses()
    with listening(
        create_app(Settings((Endpoint("default", addresses.inference_url, addresses.management_url),)))
    ) as url:

        def state() -> str:
            return str(requests.get(f"{url}/api/models", timeout=SECONDS).json()["models"][0]["state"])

        for _ in range(2):
            assert state() == "away"
            assert (_segment(url).status_code, error_of(_segment(url))["type"]) == (502, "server_unreachable")
            with _at(addresses, bundled_archive, tmp_path) as server:
                assert eventually(lambda: state() in ("warming", "ready"), SECONDS)  # Java opens its ports first
                early = _segment(url)
                assert early.status_code == 200 or error_of(early)["type"] == "not_ready"
                server.wait_until_ready("lseg", seconds=SECONDS)
                assert state() == "ready"
                assert _segment(url).status_code == 200


@contextmanager
def _at(addresses: Addresses, archive: Path, folder: Path) -> Iterator[LocalServer]:
    """A server that may still load."""
    server = LocalServer(folder, addresses, environment={"OMP_NUM_THREADS": "1"})
    server.start(archive.parent, [f"lseg={archive.name}"])
    try:
        yield server
    finally:
        server.stop()


def test_no_worker_and_a_full_queue_are_told_apart(bundled_archive: Path, tmp_path: Path) -> None:
    """TorchServe answers both with the same words."""
    with (
        running(bundled_archive, tmp_path, TS_JOB_QUEUE_SIZE="1") as server,
        listening(create_app(Settings((endpoint_of(server),)))) as url,
    ):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: _segment(url, mode="accurate"), range(8)))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert 0 < len(refused) < 8
        assert {error_of(answer)["type"] for answer in refused} == {"overloaded"}
        assert {answer.headers["retry-after"] for answer in refused} == {"2"}
        scaled = f"{server.addresses.management_url}/models/lseg?min_worker=0&max_worker=0&synchronous=true"
        assert requests.put(scaled, timeout=SECONDS).ok
        error = error_of(_segment(url))
        assert (error["code"], error["type"]) == (503, "not_ready")
        assert requests.get(f"{url}/api/models", timeout=SECONDS).json()["models"][0]["state"] == "no_worker"


def test_an_upload_beyond_the_apps_limit_is_refused(endpoint: LocalServer) -> None:
    settings = Settings((endpoint_of(endpoint),), max_request_bytes=100_000)
    with listening(create_app(settings)) as url:
        told = _segment(url)
        untold = requests.post(f"{url}/api/models/lseg/segment", data=iter([VILLAGE[:99_999], b"12"]), timeout=SECONDS)
    for answer in (told, untold):
        error = error_of(answer)
        assert (error["code"], error["type"]) == (413, "too_large")
        assert "100000" in str(error["message"])


def test_torchserves_413_without_a_body_gets_one(bundled_archive: Path, tmp_path: Path) -> None:
    with (
        running(bundled_archive, tmp_path, TS_MAX_REQUEST_SIZE="100000") as server,
        listening(create_app(Settings((endpoint_of(server),)))) as url,
    ):
        assert _asked_directly(server).content == b""
        error = error_of(_segment(url))
    assert (error["code"], error["type"], error["field"]) == (413, "too_large", "image")


def test_an_answer_beyond_the_apps_limit_is_refused(endpoint: LocalServer) -> None:
    with listening(create_app(Settings((endpoint_of(endpoint),), max_answer_bytes=1000))) as url:
        assert error_of(_segment(url))["type"] == "bad_answer"


def test_a_request_that_takes_too_long_is_given_up(endpoint: LocalServer) -> None:
    with listening(create_app(Settings((endpoint_of(endpoint),), timeout_seconds=0.2))) as url:
        error = error_of(_segment(url, mode="accurate"))
    assert (error["code"], error["type"]) == (504, "timed_out")


def test_the_gallery_has_its_pictures_with_their_source(app_url: str) -> None:
    pictures = requests.get(f"{app_url}/api/gallery", timeout=SECONDS).json()["pictures"]
    assert {"village", "beach", "lake", "town", "winter", "desert", "cat", "coffee"} == {
        picture["id"] for picture in pictures
    }
    for picture in pictures:
        whole = requests.get(app_url + picture["url"], timeout=SECONDS)
        assert whole.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(whole.content)) as image:
            assert image.size == (picture["width"], picture["height"])
            small = requests.get(app_url + picture["thumbnail"], timeout=SECONDS)
            shown = np.asarray(Image.open(io.BytesIO(small.content)), dtype=float)
            reference = np.asarray(image.convert("RGB").resize(shown.shape[1::-1]), dtype=float)
        assert len(small.content) < len(whole.content)
        assert np.abs(shown - reference).mean() < 8
        assert picture["credit"]
        assert picture["labels"]


@pytest.mark.parametrize(
    "path", ["/gallery/nothing.jpg", "/gallery/SOURCES.md", "/gallery/..%2Fscenes.py", "/x", "/a/b"]
)
def test_what_is_not_there_is_an_error_in_json(app_url: str, path: str) -> None:
    assert error_of(requests.get(app_url + path, timeout=SECONDS))["type"] == "not_found"


def test_a_wrong_method_is_an_error_that_names_the_right_one(app_url: str) -> None:
    answer = requests.get(f"{app_url}/api/models/lseg/segment", timeout=SECONDS)
    assert error_of(answer)["type"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"


def test_the_pages_files(endpoint: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    (tmp_path / "icon.svg").write_text("<svg/>")
    (tmp_path / "assets" / "page-1a2b.js").write_text("export {}")
    settings = Settings((endpoint_of(endpoint),), static=tmp_path)
    with listening(create_app(settings)) as url:
        page = requests.get(f"{url}/", timeout=SECONDS)
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-cache"
        again = requests.get(f"{url}/", headers={"If-None-Match": page.headers["etag"]}, timeout=SECONDS)
        assert again.status_code == 304
        script = requests.get(f"{url}/assets/page-1a2b.js", timeout=SECONDS)
        assert "javascript" in script.headers["content-type"]
        assert script.headers["cache-control"] == "max-age=31536000, immutable"
        assert requests.get(f"{url}/icon.svg", timeout=SECONDS).headers["content-type"].startswith("image/svg+xml")
        assert error_of(requests.get(f"{url}/assets/page-0000.js", timeout=SECONDS))["type"] == "not_found"
        assert error_of(requests.get(f"{url}/assets", timeout=SECONDS))["type"] == "not_found"


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/api/models", "/gallery/village.small.jpg"])
def test_every_answer_binds_the_browser(app_url: str, path: str) -> None:
    headers = requests.get(app_url + path, timeout=SECONDS).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_a_foreign_name_for_this_machine_is_refused(endpoint: LocalServer, app_url: str) -> None:
    port = urlsplit(app_url).port
    for host in (f"evil.example:{port}", "evil.example", "127.0.0.1.evil.example", "[", ""):
        answer = requests.get(f"{app_url}/api/models", headers={"Host": host}, timeout=SECONDS)
        assert (answer.status_code, error_of(answer)["type"]) == (421, "foreign_host")
    for host in ("LOCALHOST", f"localhost:{port}", "[::1]:9000"):
        assert requests.get(f"{app_url}/healthz", headers={"Host": host}, timeout=SECONDS).ok
    with listening(create_app(replace(Settings((endpoint_of(endpoint),)), hosts=None))) as url:
        assert requests.get(f"{url}/healthz", headers={"Host": "any.example"}, timeout=SECONDS).ok


def test_a_page_of_another_origin_may_not_ask(app_url: str) -> None:
    for origin in ("http://evil.example", "null", app_url.replace("127.0.0.1", "localhost")):
        answer = requests.post(
            f"{app_url}/api/models/lseg/segment", files={"image": VILLAGE}, headers={"Origin": origin}, timeout=SECONDS
        )
        assert (answer.status_code, error_of(answer)["type"]) == (403, "foreign_origin")
    own = requests.post(
        f"{app_url}/api/models/lseg/segment",
        files={"image": VILLAGE},
        data={"labels": LABELS},
        headers={"Origin": app_url},
        timeout=SECONDS,
    )
    assert own.status_code == 200


def test_a_browser_that_goes_away_amid_its_upload_harms_nobody(app_url: str) -> None:
    address = urlsplit(app_url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80)) as connection:
        head = f"POST /api/models/lseg/segment HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: image/jpeg\r\n"
        connection.sendall(head.encode() + b"Content-Length: 100000\r\n\r\n" + VILLAGE[:5000])
    assert _segment(app_url).status_code == 200


def test_the_management_port_is_not_passed_on(app_url: str) -> None:
    for path in ("/models", "/models/lseg", "/api/models/lseg", "/api/models/lseg/segment/../../models"):
        assert requests.get(app_url + path, timeout=SECONDS).status_code in (404, 405)
        assert requests.put(app_url + path, params={"min_worker": "0"}, timeout=SECONDS).status_code in (404, 405)
    assert json.loads(requests.get(f"{app_url}/api/models", timeout=SECONDS).text)["models"][0]["state"] == "ready"
