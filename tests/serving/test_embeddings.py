"""Embeddings at a real server: the map, points and labels, asked again without it, and what it refuses."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from lseg_serve.embeddings import Embeddings, unpack
from lseg_serve.segmenter import EmbedOptions, Segmenter
from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import error_of, running

LABELS = ["cat", "grass", "other"]
PHOTO = PROJECT / "demo" / "photos" / "cat.jpg"
HEIGHT, WIDTH = 300, 451
POINTS = [[0, 0], [225.5, 149.25], [450, 299]]


@pytest.fixture(scope="module")
def segmenter(archive: Path) -> Segmenter:
    """The archive in this process, without a server."""
    return Segmenter.load(archive)


@pytest.fixture(scope="module")
def large(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server with the limits of config.properties."""
    with running(archive, tmp_path_factory.mktemp("large")) as one:
        yield one


def _asked(url: str, photo: bytes | None = None, accept: str = "*/*", **fields: object) -> requests.Response:
    files = {} if photo is None else {"image": photo}
    answer = requests.post(
        url, files=files, data={"format": "embeddings", **fields}, headers={"Accept": accept}, timeout=120
    )
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_map_gives_back_the_servers_mask(url: str, photo: bytes, segmenter: Segmenter, dtype: str) -> None:
    answer = _asked(url, photo, labels=",".join(LABELS), dtype=dtype)
    assert answer.headers["content-type"] == "application/x-npz"
    stages = [stage.split(";")[0] for stage in answer.headers["server-timing"].split(", ")]
    assert stages == ["decode", "text", "network", "embed"]
    found = Embeddings.unpacked(answer.content)
    assert found.vectors.dtype == dtype
    assert found.vectors.shape == (48, 24, 32)
    expected = segmenter.segment(PHOTO, LABELS).mask
    differ = np.mean(found.segment(LABELS) != expected)
    print(f"{dtype}: {len(answer.content)} bytes, {differ:.3%} of pixels differ")
    assert differ < (1e-4 if dtype == "float32" else 1e-2)


def test_the_same_numbers_come_as_safetensors(url: str, photo: bytes) -> None:
    packed = _asked(url, photo, "application/x-safetensors", labels="cat")
    assert packed.headers["content-type"] == "application/x-safetensors"
    found, expected = Embeddings.unpacked(packed.content), Embeddings.unpacked(_asked(url, photo, labels="cat").content)
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    assert (found.labels, found.about) == (("cat",), expected.about)
    np.testing.assert_allclose(found.texts(["cat"]), expected.texts(["cat"]))


@pytest.mark.parametrize("mode", ["fast", "accurate"])
def test_points_in_every_form_are_those_of_the_segmenter(
    mode: str, url: str, photo: bytes, segmenter: Segmenter
) -> None:
    expected = segmenter.embed_points(PHOTO, POINTS, options=EmbedOptions(mode=mode, dtype="float32"))
    fields = {"format": "embeddings", "mode": mode, "dtype": "float32"}
    npy = io.BytesIO()
    np.save(npy, np.array(POINTS, dtype=np.float32))
    files = {"image": photo, "points": npy.getvalue()}
    answers = [
        _asked(url, photo, points=json.dumps(POINTS), mode=mode, dtype="float32"),
        requests.post(url, files=files, data=fields, timeout=120),
    ]
    for answer in answers:
        arrays, about = unpack(answer.content)
        np.testing.assert_allclose(arrays["embeddings"], expected, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(arrays["points"], POINTS)
        np.testing.assert_allclose(np.linalg.norm(arrays["embeddings"], axis=1), 1, atol=1e-5)
        assert (about["mode"], about["image_size"]) == (mode, [HEIGHT, WIDTH])


def test_a_preset_and_options_of_windows(url: str, photo: bytes, segmenter: Segmenter) -> None:
    options = EmbedOptions(mode="accurate", scales=(1.0,), flip=False, base_size=128, crop_size=64, dtype="float32")
    fields = {"mode": "accurate", "scales": "1", "flip": "false", "base_size": "128", "crop_size": "64"}
    arrays, _ = unpack(_asked(url, photo, points=json.dumps(POINTS), dtype="float32", **fields).content)
    np.testing.assert_allclose(arrays["embeddings"], segmenter.embed_points(PHOTO, POINTS, options=options), atol=1e-5)
    arrays, about = unpack(_asked(url, photo, points=json.dumps(POINTS), dtype="float32", preset="vlmaps").content)
    expected = segmenter.embed_points(PHOTO, POINTS, options=EmbedOptions(preset="vlmaps", dtype="float32"))
    np.testing.assert_allclose(arrays["embeddings"], expected, rtol=0, atol=1e-4)
    assert about["mode"] == "vlmaps"


def test_labels_alone_need_no_image(url: str, segmenter: Segmenter) -> None:
    arrays, about = unpack(_asked(url, labels=",".join(LABELS)).content)
    assert (list(arrays), about["labels"]) == (["label_embeddings"], LABELS)
    np.testing.assert_allclose(arrays["label_embeddings"], segmenter.embed_labels(LABELS), atol=1e-6)
    body = json.dumps({"format": "embeddings", "labels": LABELS}).encode()
    again = requests.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=60)
    np.testing.assert_array_equal(unpack(again.content)[0]["label_embeddings"], arrays["label_embeddings"])


def test_100000_points_fit_into_one_request(large: LocalServer, photo: bytes, segmenter: Segmenter) -> None:
    generator = np.random.default_rng(0)
    points = generator.uniform(0, (WIDTH - 1, HEIGHT - 1), (100_000, 2)).astype(np.float32)
    npy = io.BytesIO()
    np.save(npy, points)
    url = f"{large.addresses.inference_url}/predictions/lseg"
    answer = requests.post(
        url, files={"image": photo, "points": npy.getvalue()}, data={"format": "embeddings"}, timeout=120
    )
    assert answer.status_code == 200, answer.text
    found = unpack(answer.content)[0]["embeddings"]
    assert found.shape == (100_000, 48)
    assert found.dtype == np.float16
    some = generator.integers(0, len(points), 200)
    np.testing.assert_allclose(found[some], segmenter.embed_points(PHOTO, points[some]), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("[[0, 300]]", "point 1 is [0, 300]; accepted: x from -0.5 to 450.5, y from -0.5 to 299.5"),
        ("[[NaN, 0]]", "point 1 is [nan, 0]"),
        ("nowhere", "points is no JSON"),
        ("[[1, 2, 3]]", "point 1 is [1, 2, 3]; accepted: [x, y]"),
        (json.dumps([[0, 0]] * 100_001), "there are 100001 points; accepted: up to 100000"),
    ],
    ids=lambda value: value[:20],
)
def test_bad_points_are_refused(points: str, message: str, url: str, photo: bytes) -> None:
    answer = requests.post(url, files={"image": photo}, data={"format": "embeddings", "points": points}, timeout=60)
    error = error_of(answer)
    assert (error["code"], error["type"], error["field"]) == (400, "invalid_option", "points")
    assert message in str(error["message"])


def test_an_npy_that_hides_a_pickle_is_refused(url: str, photo: bytes) -> None:
    npy = io.BytesIO()
    np.save(npy, np.array([[1, print]], dtype=object), allow_pickle=True)
    answer = requests.post(
        url, files={"image": photo, "points": npy.getvalue()}, data={"format": "embeddings"}, timeout=60
    )
    assert "holds pickled objects; accepted: numbers [N, 2]" in str(error_of(answer)["message"])


def test_embeddings_beyond_the_limit_are_refused_before_they_are_computed(url: str, photo: bytes) -> None:
    fields = {"format": "embeddings", "points": json.dumps([[1, 1]] * 50_000)}
    error = error_of(requests.post(url, files={"image": photo}, data=fields, timeout=60))
    assert (error["code"], error["type"]) == (413, "response_too_large")
    assert "the embeddings take 4800000 bytes; accepted: up to 2936000" in str(error["message"])
