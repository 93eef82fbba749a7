"""A real TorchServe with several workers on one CUDA GPU: each answers as the CPU does, and a killed one comes back."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import requests
from PIL import Image

from lseg_serve.segmenter import Config, Segmenter
from lseg_serve.server import LocalServer
from tests.serving.conftest import export_archive, predicted, running
from tests.support.pictures import noise
from tests.support.waiting import eventually

LABELS = ("sky", "tree", "a red car", "other")
WORKERS = 3


def test_several_workers_share_one_gpu(kind: str, small_checkpoint: Path, tmp_path: Path) -> None:
    lseg = {"device": kind}
    archive = export_archive(small_checkpoint, tmp_path / "store", minWorkers=WORKERS, maxWorkers=WORKERS, lseg=lseg)
    cpu = Segmenter.load(archive, Config.from_file(archive.parent / "config.yaml").replaced(device="cpu"))
    one_gpu = {"CUDA_VISIBLE_DEVICES": "0"} if kind == "cuda" else {}
    with running(archive, tmp_path / "server", **one_gpu) as server:
        assert eventually(lambda: _ready(server) == WORKERS, 300), server.workers("lseg")
        images = [noise(60 + 7 * number, 90, number) for number in range(9)]
        with ThreadPoolExecutor(WORKERS) as pool:
            answers = list(pool.map(lambda image: predicted(server, LABELS, image), images))
        for image, answer in zip(images, answers, strict=True):
            assert answer.headers["X-LSeg-Device"] == {"cuda": "cuda-0"}.get(kind, kind)
            mask = np.asarray(Image.open(io.BytesIO(answer.content)))
            assert (mask == cpu.segment(image, LABELS).mask).mean() > 0.99
        if kind == "cuda":
            text = requests.get(f"http://127.0.0.1:{server.addresses.metrics.port}/metrics", timeout=60).text
            assert re.search(r'^LSegDeviceMemoryUsed\{Device="cuda-0",', text, re.MULTILINE)
        killed = server.workers("lseg")[0]["pid"]
        psutil.Process(killed).kill()
        assert eventually(lambda: killed not in _processes(server) and _ready(server) == WORKERS, 300)
        predicted(server, LABELS, images[0])


def _ready(server: LocalServer) -> int:
    return sum(worker["status"] == "READY" for worker in server.workers("lseg"))


def _processes(server: LocalServer) -> set[int]:
    return {worker["pid"] for worker in server.workers("lseg")}
