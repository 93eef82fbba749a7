"""A real TorchServe whose workers run on the simulated Gaudi: start, warm-up, cards, crashes and the recipe cache."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from lseg_serve.segmenter import Config, Segmenter
from lseg_serve.server import LocalServer
from tests.gaudi.process import SIMULATED
from tests.serving.conftest import export_archive, predicted, running
from tests.support.pictures import noise
from tests.support.waiting import eventually

LABELS = ("sky", "tree", "a red car", "other")
COPIED = 30  # seconds: TorchServe may answer before it has copied the last lines a worker wrote
SIZES = [(96, 128), (300, 20), (77, 77), (640, 480), (33, 1000)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gaudi")


@pytest.fixture(scope="module")
def archive(small_checkpoint: Path, folder: Path) -> Path:
    """The small network for Gaudi, in float32 so that masks can be compared."""
    hpu = {
        "bfloat16": False,
        "recipe_cache": str(folder / "recipes"),
        "card_locks": str(folder / "locks"),
    }
    lseg = {"device": "hpu", "hpu_mode": "lazy", "hpu": hpu}
    return export_archive(small_checkpoint, folder / "store", maxWorkers=8, lseg=lseg)


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(SIMULATED),
        "PT_HPU_PLACE_ON_CPU": "none",
        "SIMULATED_GAUDI_CARDS": "4",
        "SIMULATED_GAUDI_COMPILE_SECONDS": "0.2",
        "SIMULATED_GAUDI_FOLDER": str(folder / "machine"),
        "HABANA_VISIBLE_MODULES": "0,1,2,3",
    }


@pytest.fixture(scope="module")
def server(archive: Path, folder: Path) -> Iterator[LocalServer]:
    with running(archive, folder / "server", **_environment(folder)) as one:
        yield one


def _scale(server: LocalServer, workers: int) -> requests.Response:
    return requests.put(
        f"{server.addresses.management_url}/models/lseg",
        params={"min_worker": str(workers), "max_worker": str(workers), "synchronous": "true", "timeout": "300"},
        timeout=300,
    )


def _log(server: LocalServer) -> str:
    return (server.logs / "model_log.log").read_text(errors="replace")


def _figures(server: LocalServer, device: str = "hpu-0") -> dict[str, float]:
    """What a card's worker has reported, without dimensions: the sum over them."""
    text = requests.get(f"{server.addresses.metrics.url}/metrics", timeout=60).text
    figures: dict[str, float] = {}
    for name, value in re.findall(rf'^(LSeg\w+)\{{Device="{device}",[^}}]*\}} ([\d.E-]+)', text, re.MULTILINE):
        figures[name] = figures.get(name, 0) + float(value)
    return figures


def _cards(server: LocalServer) -> list[str]:
    """The card of each worker that says it is ready, in the order of the log."""
    return re.findall(r"Ready on hpu \(GAUDI2, module (\d), lazy, float32\)", _log(server))


def test_masks_are_those_of_the_cpu_and_no_request_compiles(server: LocalServer, archive: Path) -> None:
    cpu = Segmenter.load(archive, Config.from_file(archive.parent / "config.yaml").replaced(device="cpu"))
    for number, size in enumerate(SIZES):
        image = noise(*size, number)
        answer = predicted(server, LABELS, image)
        assert answer.headers["X-LSeg-Device"] == "hpu-0"
        mask = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert (mask == cpu.segment(image, LABELS).mask).mean() > 0.999
    assert eventually(lambda: _figures(server).get("LSegRequests") == len(SIZES), COPIED), _figures(server)
    assert _figures(server)["LSegGraphCompilations"] > 0  # by warm-up
    assert _figures(server)["LSegLateGraphCompilations"] == 0
    assert "graphs were compiled while requests waited" not in _log(server)


def test_warm_up_tells_its_progress(server: LocalServer) -> None:
    lines = re.findall(r"\[(\d+)/(\d+)\] (image|score|text) [^,]*, [\d.]+ s, [\d.]+ GB free", _log(server))
    total = int(lines[0][1])
    assert total < 22  # fewer than for batches, as TorchServe's batchSize is 1
    assert [int(done) for done, _, _ in lines[:total]] == list(range(1, total + 1))
    assert {step for _, _, step in lines} == {"image", "score", "text"}


def test_the_cards_metrics_are_published(server: LocalServer) -> None:
    predicted(server, LABELS, noise(50, 50))
    assert eventually(lambda: "LSegDeviceMemoryUsed" in _figures(server), COPIED)
    figures = _figures(server)
    assert figures["LSegGraphCompilations"] >= 16
    assert figures["LSegRecipeCacheHits"] > 0
    assert figures["LSegCpuFallbacks"] == 0
    assert figures["LSegColdGraphs"] == 0
    assert figures["LSegDeviceMemoryFree"] > 0
    assert figures["LSegDeviceMemoryUsed"] > 0


def test_workers_take_a_card_each_and_the_fifth_is_refused_without_harm(server: LocalServer) -> None:
    assert _scale(server, 4).status_code == 200
    assert eventually(lambda: sorted(_cards(server)[-4:]) == ["0", "1", "2", "3"], COPIED), _cards(server)
    before = {worker["pid"] for worker in server.workers("lseg")}
    refused = _scale(server, 5)
    assert refused.status_code >= 400
    reason = "all 4 Gaudi cards (modules 0, 1, 2, 3) are taken by other workers; accepted: up to 4 workers"
    assert eventually(lambda: reason in _log(server), COPIED), _log(server)
    assert _scale(server, 4).status_code == 200
    predicted(server, LABELS, noise(60, 60))
    assert before <= {worker["pid"] for worker in server.workers("lseg")}
    _wait_for_the_last_retry(server)
    assert _scale(server, 2).status_code == 200
    predicted(server, LABELS, noise(60, 60))


def _wait_for_the_last_retry(server: LocalServer) -> None:
    """TorchServe may start a failed worker once more after it was scaled away; a card freed now would be its own."""
    known, steady = {worker["pid"] for worker in server.workers("lseg")}, 0
    deadline = time.monotonic() + 60
    while steady < 12 and time.monotonic() < deadline:
        frontend = server.process()
        assert frontend is not None
        running_now = {child.pid for child in frontend.children() if child.is_running()}
        steady = steady + 1 if running_now <= known else 0
        time.sleep(0.25)
    assert steady == 12, "workers that nobody asked for are still started"


def test_a_killed_workers_card_is_taken_over(server: LocalServer, folder: Path) -> None:
    assert _scale(server, 4).status_code == 200
    holders = _holders(folder)
    killed = server.workers("lseg")[0]["pid"]
    psutil.Process(killed).kill()
    assert eventually(lambda: killed not in _holders(folder).values() and _all_ready(server), 120)
    after = _holders(folder)
    changed = {card for card in after if after[card] != holders[card]}
    assert changed == {card for card, pid in holders.items() if pid == killed}
    assert set(after.values()) == {worker["pid"] for worker in server.workers("lseg")}
    predicted(server, LABELS, noise(60, 60))


def _all_ready(server: LocalServer) -> bool:
    return all(worker["status"] == "READY" for worker in server.workers("lseg"))


def _holders(folder: Path) -> dict[str, int]:
    """The process that took each card last."""
    return {path.stem: int(path.read_text() or 0) for path in (folder / "locks").glob("*/*.pid")}


def test_the_second_start_finds_its_recipes(server: LocalServer, archive: Path, folder: Path) -> None:
    """The first worker compiled; those after it, and this server, found what it left on disk."""
    first = re.search(r"Ready on hpu.* after ([\d.]+) s", _log(server))
    assert first is not None
    assert _scale(server, 1).status_code == 200  # or no card is free
    with running(archive, folder / "second", **_environment(folder)) as second:
        predicted(second, LABELS, noise(60, 60))
        text = requests.get(f"http://127.0.0.1:{second.addresses.metrics.port}/metrics", timeout=60).text
        compiled = re.search(r'^LSegGraphCompilations\{Device="hpu-\d",[^}]*\} ([\d.]+)', text, re.MULTILINE)
        assert compiled is not None and float(compiled.group(1)) == 0
        again = re.search(r"Ready on hpu.* after ([\d.]+) s", _log(second))
        assert again is not None
        print(f"first start {first.group(1)} s, second start {again.group(1)} s (simulated)")
