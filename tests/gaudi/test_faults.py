"""When a card fails: a request that it has no memory for is told so, and a fault that stays ends the worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lseg_serve.server import LocalServer
from tests.gaudi.process import SIMULATED, run
from tests.serving.conftest import export_archive, running
from tests.support.pictures import encoded, noise
from tests.support.waiting import eventually

LAZY = {"PT_HPU_LAZY_MODE": "1", "PT_HPU_AUTOLOAD": "0", "PT_HPU_PLACE_ON_CPU": "none"}
ROW = {"image": encoded(noise(60, 60)), "labels": b"cat,grass"}


def _respond(segmenter: Any, rows: int = 1) -> list[tuple[int, str]]:
    """Status and type of error of each response."""
    from lseg_serve.handler.pipeline import respond
    from lseg_serve.handler.responses import ServerInfo

    responses = respond(segmenter, [ROW] * rows, [{}] * rows, ServerInfo("lseg", "1", "hpu", 10**9))
    return [(one.status, json.loads(one.body)["error"]["type"] if one.status != 200 else "") for one in responses]


def _without_memory() -> list[list[tuple[int, str]]]:
    from tests.gaudi import workload

    segmenter = workload.segmenter()
    segmenter.warm_up()
    from habana_frameworks.torch.simulated.memory import MEMORY

    given, limit = [_respond(segmenter)], MEMORY.limit
    MEMORY.limit = MEMORY.in_use + 1000
    given.append(_respond(segmenter, 3))
    MEMORY.limit = limit
    return [*given, _respond(segmenter), [(0, str(segmenter.device.lost))]]


def test_a_card_without_memory_is_told_and_works_again(tmp_path: Path) -> None:
    given = run(_without_memory, SIMULATED_GAUDI_FOLDER=str(tmp_path), **LAZY)
    assert given == [[(200, "")], [(507, "out_of_memory")] * 3, [(200, "")], [(0, "False")]]


def _with_a_fault(fault: str) -> list[list[tuple[int, str]]]:
    from tests.gaudi import workload

    segmenter = workload.segmenter()
    segmenter.warm_up()
    Path(fault).touch()
    given = [_respond(segmenter, 2), _respond(segmenter)]
    return [*given, [(0, str(segmenter.device.lost))]]


def test_after_a_fault_nothing_works_any_more(tmp_path: Path) -> None:
    fault = str(tmp_path / "fault")
    given = run(_with_a_fault, fault, SIMULATED_GAUDI_FOLDER=str(tmp_path), SIMULATED_GAUDI_FAULT_FILE=fault, **LAZY)
    assert given == [[(503, "device_lost")] * 2, [(503, "device_lost")], [(0, "True")]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def server(small_checkpoint: Path, folder: Path) -> Iterator[LocalServer]:
    hpu = {"recipe_cache": str(folder / "recipes"), "card_locks": str(folder / "locks")}
    lseg = {"device": "hpu", "hpu_mode": "lazy", "static_image_size_params": {"short_sizes": [64]}, "hpu": hpu}
    lseg["accurate"] = {"crop_size": 64, "base_size": 72, "stride": 48}
    archive = export_archive(small_checkpoint, folder / "store", lseg=lseg)
    environment = {
        "PYTHONPATH": str(SIMULATED),
        "SIMULATED_GAUDI_FOLDER": str(folder / "machine"),
        "SIMULATED_GAUDI_FAULT_FILE": str(folder / "fault"),
    }
    with running(archive, folder / "server", **environment) as one:
        yield one


def _predict(server: LocalServer) -> requests.Response:
    url = f"{server.addresses.inference_url}/predictions/lseg"
    return requests.post(url, files={"image": ROW["image"]}, data={"labels": "cat,grass"}, timeout=120)


def test_a_worker_whose_card_failed_is_replaced(server: LocalServer, folder: Path) -> None:
    assert _predict(server).status_code == 200
    (before,) = [worker["pid"] for worker in server.workers("lseg")]
    (folder / "fault").touch()
    failed = _predict(server)
    assert failed.status_code == 503
    assert failed.json()["error"]["type"] == "device_lost"

    def replaced() -> bool:
        (worker,) = server.workers("lseg")
        return worker["pid"] != before and worker["status"] == "READY"

    assert eventually(replaced, 120), server.workers("lseg")
    assert _predict(server).status_code == 200
    log = (server.logs / "model_log.log").read_text(errors="replace")
    assert "cannot be opened" not in log  # autocast's lists are in the archive
    assert "The device has failed for good; this worker ends" in log
