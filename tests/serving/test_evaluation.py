"""The whole evaluation command against a real server: figures, stop and resume, and what goes wrong on the way."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lseg_serve.evaluation.__main__ import main
from lseg_serve.labelsets import published_labels
from lseg_serve.segmenter import Segmenter
from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import LABEL_SET, export_archive, running
from tests.support.ade20k import make_ade20k

IMAGES = 12


@pytest.fixture(scope="module")
def ade20k_archive(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with lang-seg's own label set, which no request can name."""
    return export_archive(small_checkpoint, tmp_path_factory.mktemp("ade20k"), "--labels", "ade20k-published")


@pytest.fixture(scope="module")
def ade20k_server(ade20k_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with running(ade20k_archive, tmp_path_factory.mktemp("server")) as one:
        yield one


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_ade20k(folder, {"validation": IMAGES, "training": 1})
    return folder


def _command(data: Path, server: LocalServer, output: Path, *options: str) -> list[str]:
    command = ["ade20k", "--data", str(data), "--url", server.addresses.inference_url, "--output", str(output)]
    return [*command, *options]


def _figures(output: Path) -> dict[str, Any]:
    """metrics.json without what depends on the time of day."""
    document: dict[str, Any] = json.loads((output / "metrics.json").read_text())
    assert set(document.pop("latency_ms")) == {"mean", "p50", "p90", "p95", "p99", "max"}
    document.pop("last_session")
    return document


def _expected(archive: Path, data: Path, labels: tuple[str, ...] | None, mode: str) -> np.ndarray:
    """Hits, true pixels and found pixels of each label, [3, 150], without a server and by plain counting."""
    segmenter = Segmenter.load(archive)
    counts = np.zeros((3, 150), dtype=np.int64)
    root = data / "ADEChallengeData2016"
    for path in sorted((root / "images" / "validation").iterdir()):
        mask = segmenter.segment(path, labels, mode=mode).mask
        truth = np.asarray(Image.open(root / "annotations" / "validation" / f"{path.stem}.png")).astype(int)
        for index in range(150):
            true, found = truth == index + 1, (mask == index) & (truth > 0)
            counts[:, index] += (np.sum(true & found), np.sum(true), np.sum(found))
    return counts


@pytest.mark.parametrize("labels", ["ade20k", "ade20k-published"])
@pytest.mark.parametrize("mode", ["fast", "accurate"])
def test_figures_over_http_are_those_of_python(
    labels: str, mode: str, ade20k_archive: Path, ade20k_server: LocalServer, data: Path, tmp_path: Path
) -> None:
    assert main(_command(data, ade20k_server, tmp_path, "--labels", labels, "--mode", mode)) == 0
    named = published_labels(labels) if labels == "ade20k" else None
    hits, true, found = _expected(ade20k_archive, data, named, mode)
    iou = hits / np.maximum(true + found - hits, 1)
    figures = _figures(tmp_path)
    assert figures["images"] == IMAGES
    assert f"{figures['miou_all']:.4f}" == f"{iou.mean():.4f}"
    assert figures["miou_present"] == pytest.approx(iou[true > 0].mean())
    assert figures["pixel_accuracy"] == pytest.approx(hits.sum() / true.sum())
    assert figures["frequency_weighted_iou"] == pytest.approx((iou * true).sum() / true.sum())
    assert [label["label"] for label in figures["labels"]] == list(published_labels(labels))


def test_the_report_is_complete(ade20k_server: LocalServer, data: Path, tmp_path: Path) -> None:
    assert main(_command(data, ade20k_server, tmp_path, "--limit", "3")) == 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 3 * 4
    assert "mIoU over all labels" in page
    assert "incomplete" not in page
    assert page.count(" taken for ") == 3 * 3
    assert "http://" not in page, "a report must not fetch anything"
    with (tmp_path / "confusion.csv").open() as file:
        rows = list(csv.reader(file))
    assert (len(rows), {len(row) for row in rows}) == (151, {152})
    counted = sum(int(pixels) for row in rows[1:] for pixels in row[1:])
    truths = sorted((data / "ADEChallengeData2016" / "annotations" / "validation").iterdir())[:3]
    assert counted == sum(np.count_nonzero(np.asarray(Image.open(path))) for path in truths)
    with (tmp_path / "labels.csv").open() as file:
        assert len(list(csv.reader(file))) == 151
    assert len(list((tmp_path / "masks").iterdir())) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_evaluation_goes_on_and_gives_the_same_figures(
    number: signal.Signals, ade20k_server: LocalServer, data: Path, tmp_path: Path
) -> None:
    options = ("--mode", "accurate", "--workers", "1")
    command = _command(data, ade20k_server, tmp_path / "stopped", *options)
    process = subprocess.Popen(
        [sys.executable, "-m", "evaluation", *command], cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )
    journal = tmp_path / "stopped" / "results.jsonl"
    while not journal.exists() or len(journal.read_text().splitlines()) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "the same command goes on from here" in errors
    done = journal.read_text().splitlines()[1:]
    assert 2 <= len(done) < IMAGES
    assert main(command) == 0
    assert journal.read_text().splitlines()[1 : len(done) + 1] == done, "what was measured is not measured again"
    assert len(journal.read_text().splitlines()) == 1 + IMAGES
    assert main(_command(data, ade20k_server, tmp_path / "whole", *options)) == 0
    assert _figures(tmp_path / "stopped") == _figures(tmp_path / "whole")


def test_what_fails_is_recorded_reported_and_tried_again(
    ade20k_server: LocalServer, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A response that is not 200, a truth of another size, and a truth with an unknown value."""
    own = tmp_path / "data"
    shutil.copytree(data, own)
    root = own / "ADEChallengeData2016"
    broken, other, odd, *_ = sorted((root / "images" / "validation").iterdir())
    whole = broken.read_bytes()
    broken.write_bytes(b"no image at all")
    truths = root / "annotations" / "validation"
    Image.fromarray(np.ones((9, 7), dtype=np.uint8)).save(truths / f"{other.stem}.png")
    with Image.open(odd) as image:
        Image.new("L", image.size, 151).save(truths / f"{odd.stem}.png")
    output = tmp_path / "out"
    assert main(_command(own, ade20k_server, output)) == 5
    assert "3 images failed; the same command tries them again" in capsys.readouterr().err
    figures = _figures(output)
    assert figures["images"] == IMAGES - 3
    assert figures["failed"][broken.stem]["status"] == 415
    assert "the ground truth is 7x9 and the image" in figures["failed"][other.stem]["error"]
    assert "holds the value 151" in figures["failed"][odd.stem]["error"]
    assert f"of {IMAGES} images 3 failed" in (output / "report.html").read_text()
    broken.write_bytes(whole)
    assert main(_command(own, ade20k_server, output)) == 5
    assert set(_figures(output)["failed"]) == {other.stem, odd.stem}


def test_a_model_without_the_published_labels_is_found_out(server: LocalServer, data: Path, tmp_path: Path) -> None:
    """The server's own label set is another one, and a request cannot name "screen" twice."""
    assert main(_command(data, server, tmp_path, "--labels", "ade20k-published", "--limit", "2")) == 5
    (failure, *_) = _figures_of_failures(tmp_path).values()
    assert "the response has other labels ('sky' in place of 'wall')" in failure["error"]
    assert "python -m export --labels" in failure["error"]


def _figures_of_failures(output: Path) -> dict[str, dict[str, Any]]:
    failures: dict[str, dict[str, Any]] = json.loads((output / "metrics.json").read_text())["failed"]
    return failures


def test_a_model_that_is_not_served_stops_the_run(
    server: LocalServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_ade20k(tmp_path, {"validation": 25})
    assert main(_command(tmp_path, server, tmp_path / "out", "--model", "absent")) == 3
    assert "20 images failed one after another, the last with: 404" in capsys.readouterr().err


def test_a_folder_with_a_label_file(server: LocalServer, data: Path, tmp_path: Path) -> None:
    """Values of one's own, as in Cityscapes, and the model's own labels in another order."""
    root = data / "ADEChallengeData2016"
    values = {index: LABEL_SET[index % 4] for index in range(1, 151)}
    (tmp_path / "labels.json").write_text(json.dumps(values))
    images, truth = str(root / "images" / "validation"), str(root / "annotations" / "validation")
    command = ["folder", "--images", images, "--truth", truth, "--labels", str(tmp_path / "labels.json")]
    command += ["--ignore", "0", "--url", server.addresses.inference_url, "--output", str(tmp_path / "out")]
    assert main(command) == 0
    figures = _figures(tmp_path / "out")
    assert [label["label"] for label in figures["labels"]] == ["tree", "water", "house", "sky"]
    assert figures["labels_present"] == 4


def test_groups_are_counted_as_labels_and_words_stand_in_the_template(
    server: LocalServer, archive: Path, data: Path, tmp_path: Path
) -> None:
    """Against masks that are merged here, of words that are put into the template here."""
    root = data / "ADEChallengeData2016"
    groups: list[Any] = ["sky", ["tree", "palm"], {"name": "ground", "any": ["floor", "grass", "road"]}]
    words, label_of_word = ["sky", "tree", "palm", "floor", "grass", "road"], np.array([0, 1, 1, 2, 2, 2])
    (tmp_path / "labels.json").write_text(json.dumps({index: groups[index % 3] for index in range(1, 151)}))
    images, truth = root / "images" / "validation", root / "annotations" / "validation"
    command = ["folder", "--images", str(images), "--truth", str(truth), "--labels", str(tmp_path / "labels.json")]
    command += ["--ignore", "0", "--url", server.addresses.inference_url, "--output", str(tmp_path / "out")]
    assert main([*command, "--template", "a photo of a {}"]) == 0
    figures = _figures(tmp_path / "out")
    assert [label["label"] for label in figures["labels"]] == ["tree", "ground", "sky"]
    assert figures["settings"]["template"] == ["a photo of a {}"]

    segmenter = Segmenter.load(archive)
    hits, all_pixels = 0, 0
    for path in images.iterdir():
        mask = segmenter.segment(path, [f"a photo of a {word}" for word in words]).mask
        true = np.asarray(Image.open(truth / f"{path.stem}.png")).astype(int)
        hits += int(np.sum((label_of_word[mask] == true % 3) & (true > 0)))
        all_pixels += int(np.sum(true > 0))
    assert figures["pixel_accuracy"] == pytest.approx(hits / all_pixels)
    assert main([*command, "--template", "the {}"]) != 0, "results of two templates were mixed"


def test_zero_shot_over_http(server: LocalServer, archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "VOC2012"
    listing = root / "ImageSets" / "Segmentation" / "val.txt"
    listing.parent.mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    (root / "SegmentationClass").mkdir()
    shutil.copyfile(PROJECT / "demo" / "photos" / "cat.jpg", root / "JPEGImages" / "cat.jpg")
    truth = np.zeros((300, 451), dtype=np.uint8)
    truth[50:200, 100:300] = 8  # cat
    truth[:5] = 255
    Image.fromarray(truth).save(root / "SegmentationClass" / "cat.png")
    listing.write_text("cat\n")
    command = ["zero-shot", "pascal", "--data", str(tmp_path), "--fold", "1", "--output", str(tmp_path / "out")]
    assert main([*command, "--url", server.addresses.inference_url]) == 0
    (output,) = (tmp_path / "out").iterdir()
    figures = json.loads((output / "metrics.json").read_text())
    mask = Segmenter.load(archive).segment(root / "JPEGImages" / "cat.jpg", ["others", "cat"]).mask
    counted, true, found = truth != 255, truth == 8, mask == 1
    iou = [
        np.sum(counted & (x == side) & (y == side)) / np.sum(counted & ((x == side) | (y == side)))
        for side in (False, True)
        for x, y in ((true, found),)
    ]
    assert figures["classes"] == {"cat": pytest.approx(iou[1])}
    assert figures["fb_iou"] == pytest.approx(np.mean(iou))
    assert (output / "classes.csv").exists() and (output / "report.html").exists()
