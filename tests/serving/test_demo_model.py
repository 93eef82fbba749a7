"""The bundled model, as a fresh clone serves it: it segments drawn scenes, and its figures hold at the endpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lseg_serve.client import LSegClient
from lseg_serve.demo.scenes import Scene, draw_scene
from lseg_serve.demo.trials import NAMES
from lseg_serve.evaluation.__main__ import main
from lseg_serve.segmenter import Segmenter
from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import running

SCENES = 16
_FIRST_SEED = 3_000_000  # neither trained on nor scored


@pytest.fixture(scope="module")
def demo_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that `make serve` makes."""
    store = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "export", "demo/weights/lseg-scenes.safetensors", "--output", str(store)]
    command += ["--config", "demo/model-config.yaml", "--labels", "demo/labels.txt"]
    subprocess.run(command, cwd=PROJECT, check=True)
    return store / "lseg.mar"


@pytest.fixture(scope="module")
def demo_server(demo_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with running(demo_archive, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Scenes of several sizes and aspects."""
    return [
        draw_scene(_FIRST_SEED + number, (200 + 40 * (number % 4), 180 + 50 * (number % 3))) for number in range(SCENES)
    ]


@pytest.fixture(scope="module")
def folder(scenes: list[Scene], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes as files: images, and index PNGs as ground truth."""
    root = tmp_path_factory.mktemp("scenes")
    for kind in ("images", "truth"):
        (root / kind).mkdir()
    for number, scene in enumerate(scenes):
        Image.fromarray(scene.image).save(root / "images" / f"{number:03d}.png")
        Image.fromarray(scene.classes).save(root / "truth" / f"{number:03d}.png")
    return root


def _mean_iou(segmenter: Segmenter, scenes: list[Scene], mode: str) -> float:
    """Over the labels that are present, by plain counting, without a server."""
    hits, true, found = (np.zeros(len(NAMES)) for _ in range(3))
    for scene in scenes:
        mask = segmenter.segment(scene.image, NAMES, mode=mode).mask
        for index in range(len(NAMES)):
            here, there = scene.classes == index, mask == index
            hits[index] += np.sum(here & there)
            true[index] += np.sum(here)
            found[index] += np.sum(there)
    iou = hits / np.maximum(true + found - hits, 1)
    return float(iou[true > 0].mean())


@pytest.mark.parametrize("mode", ["fast", "accurate"])
def test_the_figures_at_the_endpoint_are_those_of_python(
    mode: str,
    demo_archive: Path,
    demo_server: LocalServer,
    scenes: list[Scene],
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = _mean_iou(Segmenter.load(demo_archive), scenes, mode)
    command = ["folder", "--images", str(folder / "images"), "--truth", str(folder / "truth"), "--mode", mode]
    command += ["--labels", str(PROJECT / "demo" / "labels.txt"), "--output", str(tmp_path)]
    assert main([*command, "--url", demo_server.addresses.inference_url]) == 0
    figures = json.loads((tmp_path / "metrics.json").read_text())
    with capsys.disabled():
        print(f"\n{SCENES} scenes, {mode} mode: mIoU {figures['miou_present']:.4f}, in Python {expected:.4f}")
    assert f"{figures['miou_present']:.4f}" == f"{expected:.4f}"
    assert expected > 0.65, "the bundled model segments scenes it has never seen"


def test_accurate_mode_is_not_worse_than_fast(demo_archive: Path, scenes: list[Scene]) -> None:
    segmenter = Segmenter.load(demo_archive)
    fast, accurate = (_mean_iou(segmenter, scenes, mode) for mode in ("fast", "accurate"))
    assert accurate >= fast


def test_words_choose_among_things_of_one_kind(demo_server: LocalServer) -> None:
    """The README's first image: synonyms, and a colour as a word."""
    image = (PROJECT / "demo" / "pictures" / "village.jpg").read_bytes()
    labels = ["sky", "lawn", "street", "cottage", "sheep", "cow", "person", "pink balloon"]
    with LSegClient(demo_server.addresses.inference_url) as client:
        mask = client.segment(image, labels)
    shares = {entry.name: mask.share(entry) for entry in mask.legend}
    assert shares["lawn"] > 0.2
    assert shares["street"] > 0.15
    assert all(shares[name] > 0.005 for name in labels), shares
    height, width = mask.indices.shape
    assert mask.indices[height // 10, int(0.75 * width)] == labels.index("pink balloon")


def test_other_takes_what_is_not_named(demo_server: LocalServer) -> None:
    image = (PROJECT / "demo" / "pictures" / "village.jpg").read_bytes()
    with LSegClient(demo_server.addresses.inference_url) as client:
        mask = client.segment(image, ["road", "other"])
    assert 0.15 < mask.share(mask.legend[0]) < 0.35
