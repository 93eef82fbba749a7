"""`lseg segment` at a real server: every format, refusals, and a folder of images through all that may happen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import requests
from PIL import Image

from lseg_serve.client import LSegClient
from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import running

PHOTO = PROJECT / "demo" / "photos" / "cat.jpg"
LABELS = "cat,grass,other"
IMAGES = 500
AWAY_SECONDS = 10  # without a worker: every request is answered with 503, for longer than the client itself waits


def _command(server: LocalServer, *arguments: str) -> list[str]:
    url = ["--url", server.addresses.inference_url, "--labels", LABELS]
    return [sys.executable, "-m", "lseg_serve.cli", "segment", *arguments, *url]


def _segment(server: LocalServer, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(_command(server, *arguments), capture_output=True, cwd=PROJECT, check=False, **options)


def _lines(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("format", ["png", "color", "overlay", "json", "npz", "zip", "hf", "coco", "embeddings"])  # noqa: A002
def test_each_format_is_the_file_that_the_server_sends(
    format: str,  # noqa: A002
    server: LocalServer,
    url: str,
    tmp_path: Path,
) -> None:
    run = _segment(server, str(PHOTO), "--format", format, "-o", str(tmp_path))
    assert run.returncode == 0, run.stderr
    (line,) = _lines(run.stdout)
    found = Path(line["output"]).read_bytes()
    answer = requests.post(url, files={"image": PHOTO.read_bytes()}, data={"labels": LABELS, "format": format})
    if format == "json":
        timed = ("timings_ms",)
        assert {k: v for k, v in json.loads(found).items() if k not in timed} == {
            k: v for k, v in answer.json().items() if k not in timed
        }
    else:
        assert found == answer.content


def test_embeddings_heed_no_option_of_masks(server: LocalServer, tmp_path: Path) -> None:
    run = _segment(server, str(PHOTO), "--format", "embeddings", "--threshold", "0.5", "-o", str(tmp_path))
    assert run.returncode == 2
    assert b"--threshold is given with --format embeddings, which has no masks; accepted: another format" in run.stderr
    assert not list(tmp_path.iterdir())


def test_standard_input_gives_standard_output(server: LocalServer) -> None:
    run = _segment(server, "-", "-o", "-", input=PHOTO.read_bytes())
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(b"\x89PNG")
    assert run.stderr == b""


def test_lines_shares_and_statuses(server: LocalServer, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "cat.jpg").write_bytes(PHOTO.read_bytes())
    (images / "no.jpg").write_bytes(b"no image")
    run = _segment(server, str(images), "-o", str(tmp_path / "out"))
    assert run.returncode == 5
    lines = {Path(line["image"]).name: line for line in _lines(run.stdout)}
    done, failed = lines["cat.jpg"], lines["no.jpg"]
    assert (done["status"], done["width"], done["height"]) == ("done", 451, 300)
    mask = np.asarray(Image.open(done["output"]))
    assert done["shares"] == {
        name: pytest.approx(np.mean(mask == index), abs=1e-6) for index, name in enumerate(LABELS.split(","))
    }
    assert (failed["status"], failed["error"]["code"], failed["error"]["field"]) == ("failed", 415, "image")
    assert b"2 images: 1 done, 0 done before, 1 failed" in run.stderr
    (images / "no.jpg").unlink()
    again = _segment(server, str(images), "-o", str(tmp_path / "out"))
    assert again.returncode == 0
    assert [line["status"] for line in _lines(again.stdout)] == ["skipped"]


def test_groups_and_templates(server: LocalServer, tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("cat | kitten\ngrass\nother\n")

    def segment(labels: str, template: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "lseg_serve.cli", "segment", str(PHOTO), "-o", str(tmp_path / "out")]
        command += ["--url", server.addresses.inference_url, "--labels", labels, "--template", template, *options]
        return subprocess.run(command, capture_output=True, cwd=PROJECT, check=False)

    (line,) = _lines(segment(f"@{file}", "a photo of a {}").stdout)
    assert list(line["shares"]) == ["cat", "grass", "other"]
    groups = [["cat", "kitten"], "grass", "other"]
    with LSegClient(server.addresses.inference_url) as client:
        assert Path(line["output"]).read_bytes() == client.segment(PHOTO, groups, template="a photo of a {}").png
    # The same labels and template in other words are the same options; others are refused, with the value that differs.
    (same,) = _lines(segment("cat | kitten, grass, other", '["a photo of a {}"]').stdout)
    assert same["status"] == "skipped"
    for labels, template, words in (
        ("cat | kitten, grass, other", "the {}", b"template was"),
        ("cat, kitten, grass, other", "a photo of a {}", b"labels was"),
    ):
        refused = segment(labels, template)
        assert (refused.returncode, words in refused.stderr) == (3, True), refused.stderr
    for labels, template, words in (
        ("cat, dog | ", "the {}", b"holds an empty label"),
        ("cat, dog", "the", b"a template is 'the'; accepted: a text with one {}"),
    ):
        refused = segment(labels, template)
        assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr


def test_what_all_images_have_in_common_is_refused_once(server: LocalServer, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(PHOTO.read_bytes())
    run = _segment(server, str(tmp_path), "-o", str(tmp_path / "out"), "--jobs", "1", "--model", "absent")
    assert run.returncode == 3
    assert len(_lines(run.stdout)) == 1


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """500 small images in nested folders, several of one name but for its end."""
    folder = tmp_path / "images"
    generator = np.random.default_rng(0)
    for number in range(IMAGES):
        path = folder / f"{number % 7}" / f"{number // 2}.{('png', 'bmp')[number % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (24, 32 + number % 3, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture
def own_server(archive: Path, tmp_path: Path) -> Iterator[LocalServer]:
    """A server that may be maltreated."""
    with running(archive, tmp_path / "server") as server:
        yield server


@pytest.mark.slow
def test_a_folder_is_complete_whatever_happens_on_the_way(own_server: LocalServer, crowd: Path, tmp_path: Path) -> None:
    """The command is killed half-way and given again; then a worker is killed, and then there is none for a while."""
    output, management = tmp_path / "out", own_server.addresses.management_url
    command = _command(own_server, str(crowd), "-o", str(output), "--jobs", "4")
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as first:
        assert first.stdout is not None
        before = _read(first.stdout, IMAGES // 2)
        first.kill()
    times = {line["output"]: Path(line["output"]).stat().st_mtime_ns for line in before}

    with (
        LSegClient(own_server.addresses.inference_url, management_url=management) as client,
        subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as second,
    ):
        assert second.stdout is not None and second.stderr is not None
        lines = _read(second.stdout, IMAGES // 2 + 50)
        os.kill(client.workers()[0].pid, signal.SIGKILL)
        lines += _read(second.stdout, 50)
        client.scale(0)
        time.sleep(AWAY_SECONDS)
        assert second.poll() is None
        client.scale(1)
        lines += _read(second.stdout, IMAGES)
        errors = second.stderr.read()
        assert second.wait(60) == 0, errors

    statuses = [line["status"] for line in lines]
    assert len(lines) == len({line["image"] for line in lines}) == len({line["output"] for line in lines}) == IMAGES
    assert set(statuses) == {"done", "skipped"}
    assert len(before) <= statuses.count("skipped") <= len(before) + 100
    assert f"{IMAGES} images: {statuses.count('done')} done, {statuses.count('skipped')} done before, 0 failed" in (
        errors.decode()
    )
    files = sorted(str(path) for path in output.rglob("*") if path.is_file() and ".lseg-segment" not in path.name)
    assert files == sorted(line["output"] for line in lines), "no half file, and none twice"
    assert times == {name: Path(name).stat().st_mtime_ns for name in times}, "what was done is not done again"
    for line in lines:
        with Image.open(line["image"]) as image, Image.open(line["output"]) as mask:
            mask.load()
            assert mask.size == image.size


def _read(stream: IO[bytes], count: int) -> list[dict[str, Any]]:
    """Up to `count` lines, or all to the end."""
    lines = []
    for line in stream:
        lines.append(json.loads(line))
        if len(lines) == count:
            break
    return lines
