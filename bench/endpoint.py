"""Requests to a real server, in turns with the naive path in this process, which has no server to pay for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import requests

from bench.naive import Naive
from bench.rows import Row
from bench.setting import Setting, jpeg, labels, model_name, picture
from bench.timing import interleaved
from client.lseg_client import read_mask
from segmenter.buckets import choose_bucket, make_buckets
from segmenter.config import StaticImageSizeParams
from server import LocalServer

SIZES = ((320, 240), (640, 480), (1920, 1080), (4000, 3000))
COUNTS = (1, 20, 150)
_DURATION = re.compile(r"(\w+);dur=([\d.]+)")


@dataclass
class Served:
    """One model at a server, and what its last answer said."""

    url: str
    image: bytes
    labels: Sequence[str]
    mode: str = "fast"
    session: requests.Session = field(default_factory=requests.Session)
    mask: npt.NDArray[np.uint8] | None = None
    stages: list[dict[str, float]] = field(default_factory=list)  # milliseconds of each, by request

    def ask(self) -> None:
        """Send the request and keep the mask."""
        fields = {"labels": ",".join(self.labels), "mode": self.mode}
        answer = self.session.post(self.url, data=fields, files={"image": self.image}, timeout=1200)
        answer.raise_for_status()
        self.stages.append({name: float(value) for name, value in _DURATION.findall(answer.headers["Server-Timing"])})
        self.mask = read_mask(answer.content).indices


@contextmanager
def serving(setting: Setting, folder: Path, threads: int | None = None) -> Iterator[tuple[LocalServer, float]]:
    """A server with every precision as a model of one worker, and the seconds until all were ready."""
    models = [model_name(precision) for precision in setting.precisions]
    for precision in setting.precisions:
        setting.archive(precision)
    server = LocalServer(folder, environment={} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    start = time.perf_counter()
    server.start(setting.store, [f"{model}={model}" for model in models])
    try:
        for model in models:
            server.wait_until_ready(model)
        yield server, time.perf_counter() - start
    finally:
        server.stop()


def measure(setting: Setting, folder: Path, runs: int) -> list[Row]:
    """Fast mode: every size with 20 labels, every number of labels at 640x480, known labels and new ones."""
    naive = setting.naive()
    cases = [(size, 20, "warm") for size in SIZES] + [((640, 480), count, "warm") for count in COUNTS if count != 20]
    cases.append(((640, 480), 20, "cold"))
    rows: list[Row] = []
    with serving(setting, folder) as (server, _):
        for size, count, text in cases:
            rows += _case(setting, naive, server, size, count, text, runs)
    return rows


def _case(
    setting: Setting, naive: Naive, server: LocalServer, size: tuple[int, int], count: int, text: str, runs: int
) -> list[Row]:
    image = picture(*size)
    bucket = choose_bucket(make_buckets(StaticImageSizeParams()), size[1], size[0])
    expected: list[npt.NDArray[np.uint8]] = []
    ways: dict[str, Callable[[], object]] = {
        "naive": lambda: expected.append(naive.fast(image, labels(count), (bucket.height, bucket.width)))
    }
    asked: dict[str, Served] = {}
    for precision in setting.precisions:
        url = f"{server.addresses.inference_url}/predictions/{model_name(precision)}"
        asked[precision] = Served(url, jpeg(image), labels(count))
        ways[precision] = asked[precision].ask if text == "warm" else _with_new_labels(asked[precision])
    times = interleaved(ways, runs)
    rows = []
    for name, each in times.items():
        row = Row(
            scenario="endpoint",
            path=name,
            where="process" if name == "naive" else "endpoint",
            labels=count,
            image=f"{size[0]}x{size[1]}",
            text=text,
            ratio=times["naive"].median / each.median,
            agreement=_agreement(asked[name].mask, expected[-1]) if name in asked and text == "warm" else None,
            network_ms=_median_stage(asked[name]) if name in asked else None,
            **{key: value for key, value in each.columns().items() if name == "naive" or key != "cpu_s"},  # type: ignore[arg-type]
        )
        rows.append(row)
    return rows


def _with_new_labels(served: Served) -> Callable[[], object]:
    known = tuple(served.labels)

    def ask() -> None:
        served.labels = [f"{name} {len(served.stages)} {time.time_ns()}" for name in known]
        served.ask()

    return ask


def _median_stage(served: Served) -> float:
    """Milliseconds from pixels to scores, by the worker's own clock."""
    return float(np.median([stages["image"] for stages in served.stages[1:]]))


def _agreement(found: npt.NDArray[np.uint8] | None, expected: npt.NDArray[np.uint8]) -> float | None:
    return None if found is None else float(np.mean(found == expected))


def measure_accurate(setting: Setting, folder: Path, size: tuple[int, int] = (640, 480), count: int = 20) -> list[Row]:
    """Accurate mode, once each: the naive path takes minutes for an image."""
    naive, image = setting.naive(), picture(*size)
    rows, masks = [], {}
    with serving(setting, folder) as (server, _):
        start = time.perf_counter()
        masks["naive"] = naive.accurate_scores(image, labels(count)).argmax(dim=0).numpy().astype(np.uint8)
        seconds = {"naive": time.perf_counter() - start}
        for precision in setting.precisions:
            url = f"{server.addresses.inference_url}/predictions/{model_name(precision)}"
            served = Served(url, jpeg(image), labels(count), mode="accurate")
            start = time.perf_counter()
            served.ask()
            seconds[precision] = time.perf_counter() - start
            assert served.mask is not None
            masks[precision] = served.mask
    for name, taken in seconds.items():
        rows.append(
            Row(
                scenario="accurate",
                path=name,
                where="process" if name == "naive" else "endpoint",
                mode="accurate",
                labels=count,
                image=f"{size[0]}x{size[1]}",
                runs=1,
                median_ms=1000 * taken,
                ratio=seconds["naive"] / taken,
                agreement=None if name == "naive" else float(np.mean(masks[name] == masks["naive"])),
            )
        )
    return rows


def worker_processes(server: LocalServer, model: str) -> list[psutil.Process]:
    """The workers of `model`."""
    return [psutil.Process(worker["pid"]) for worker in server.workers(model)]
