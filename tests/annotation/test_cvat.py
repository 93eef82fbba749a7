"""The real cvat-cli with the project's function, before a real TorchServe and a stub of CVAT's server."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import requests
from PIL import Image, ImageDraw

from lseg_serve.client import read_mask
from lseg_serve.server import LocalServer
from tests.annotation.conftest import environment_of
from tests.annotation.cvat_server import CvatTask, serving_cvat
from tests.conftest import PROJECT
from tests.support.pictures import encoded

VILLAGE = PROJECT / "demo" / "pictures" / "village.jpg"
LABELS = ["sky", "lawn", "cottage", "cow"]


def _annotated(
    endpoint: LocalServer, cache: Path, task: CvatTask, labels: str, *options: str, by_file: bool = False
) -> subprocess.CompletedProcess[str]:
    """What cvat-cli says when it annotates the task."""
    where = ["--function-file", str(PROJECT / "annotation" / "cvat_function.py")]
    if not by_file:
        where = ["--function-module", "lseg_serve.annotation.cvat_function"]
    host, _, port = task.url.rpartition(":")
    command = [environment_of("cvat") / "bin" / "cvat-cli", "--server-host", host, "--server-port", port]
    command += ["task", "auto-annotate", "1", *where, "-p", f"labels=str:{labels}"]
    command += ["-p", f"url=str:{endpoint.addresses.inference_url}", *options]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src"), "CVAT_ACCESS_TOKEN": "any"}
    environment["XDG_CACHE_HOME"] = str(cache)  # else chunks of another stub would be taken for this one's
    return subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def _task(labels: list[str], label_type: str = "any") -> CvatTask:
    return CvatTask(VILLAGE.read_bytes(), 1200, 800, labels, label_type)


def _mask(endpoint: LocalServer, words: list[str]) -> npt.NDArray[np.uint8]:
    """The endpoint's mask of the pixels that CVAT hands out: those that Pillow reads."""
    url = f"{endpoint.addresses.inference_url}/predictions/lseg"
    with Image.open(VILLAGE) as image:
        content = encoded(image.convert("RGB"))
    answer = requests.post(url, files={"image": content}, data={"labels": ",".join(words)}, timeout=120)
    return read_mask(answer.content).indices


def _decoded(shape: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """A mask of CVAT, [800, 1200]: the lengths of runs within a box, the first outside; then the box."""
    *runs, left, top, right, bottom = map(int, shape["points"])
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask = np.zeros((800, 1200), bool)
    mask[top : bottom + 1, left : right + 1] = flat.reshape(bottom - top + 1, right - left + 1)
    return mask


@pytest.mark.parametrize("by_file", [False, True])
def test_masks_are_exactly_the_endpoints(endpoint: LocalServer, tmp_path: Path, by_file: bool) -> None:
    with serving_cvat(_task(LABELS)) as task:
        done = _annotated(endpoint, tmp_path, task, ",".join(LABELS), "--clear-existing", by_file=by_file)
    assert done.returncode == 0, done.stderr
    ((method, body),) = task.uploaded
    mask = _mask(endpoint, LABELS)
    assert method == "PUT"
    assert {shape["label_id"] - 10 for shape in body["shapes"]} == set(np.unique(mask).tolist())
    for shape in body["shapes"]:
        assert (shape["type"], shape["frame"], shape["source"]) == ("mask", 0, "auto")
        assert 0 < shape["score"] <= 1
        assert np.array_equal(_decoded(shape), mask == shape["label_id"] - 10)


def test_a_labels_words_make_one_mask(endpoint: LocalServer, tmp_path: Path) -> None:
    words = json.dumps({"building": ["cottage", "rooftop"], "sky": "sky"})
    options = ["-p", "background=str:lawn,street", "-p", "mode=str:fast", "-p", "min_share=float:0.01"]
    with serving_cvat(_task(["building", "sky"], "mask")) as task:
        done = _annotated(endpoint, tmp_path, task, words, *options)
    assert done.returncode == 0, done.stderr
    ((method, body),) = task.uploaded
    mask = _mask(endpoint, ["cottage", "rooftop", "sky", "lawn", "street"])
    assert method == "PATCH"
    found = {shape["label_id"]: _decoded(shape) for shape in body["shapes"]}
    assert np.array_equal(found[10], mask < 2)
    assert np.array_equal(found[11], mask == 2)


@pytest.mark.parametrize("options", [["--conv-mask-to-poly"], ["-p", "shape=str:polygon"]])
def test_polygons_cover_the_mask(endpoint: LocalServer, tmp_path: Path, options: list[str]) -> None:
    with serving_cvat(_task(LABELS, "polygon")) as task:
        done = _annotated(endpoint, tmp_path, task, ",".join(LABELS), *options)
    assert done.returncode == 0, done.stderr
    ((_, body),) = task.uploaded
    drawn = Image.new("L", (1200, 800), 255)
    for shape in body["shapes"]:  # the largest label first, so that small ones lie in its holes
        assert shape["type"] == "polygon"
        ImageDraw.Draw(drawn).polygon([value - 0.5 for value in shape["points"]], fill=shape["label_id"] - 10)
    mask = _mask(endpoint, LABELS)
    for index in (0, 1):
        one, other = np.asarray(drawn) == index, mask == index
        assert (one & other).sum() / (one | other).sum() > 0.95


def test_a_confidence_threshold_leaves_labels_out(endpoint: LocalServer, tmp_path: Path) -> None:
    with serving_cvat(_task(LABELS)) as task:
        done = _annotated(endpoint, tmp_path, task, ",".join(LABELS), "--conf-threshold", "1")
    assert done.returncode == 0, done.stderr
    ((_, body),) = task.uploaded
    assert body["shapes"] == []


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ("", [], "there is no label with a word"),
        ("sky", ["-p", "mode=str:slow"], "mode is 'slow'; accepted: fast or accurate"),
        ("sky", ["-p", "threshold=float:2"], "threshold is 2.0; accepted: 0 to 1"),
        ("sky", ["-p", "shape=str:box"], "shape is 'box'; accepted: mask or polygon"),
        ('{"sky": [1]}', [], "the label 'sky': a number (1) is no word"),
        ("{", [], "is no JSON object"),
        ("sky,moon", [], "label 'moon' is not in dataset"),
        ("sky", ["-p", "url=str:http://127.0.0.1:1"], "no shapes for village.jpg: no answer from http://127.0.0.1:1"),
    ],
)
def test_what_cannot_be_done_is_said(
    endpoint: LocalServer, tmp_path: Path, labels: str, options: list[str], message: str
) -> None:
    with serving_cvat(_task(LABELS)) as task:
        done = _annotated(endpoint, tmp_path, task, labels, *options)
    assert done.returncode != 0
    assert message in done.stderr
    assert task.uploaded == []
