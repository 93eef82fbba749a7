"""Requests to a real server, in turns with the naive path, which runs in this process without a server."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import psutil

from lseg_serve.bench.naive import Naive
from lseg_serve.bench.rows import Row
from lseg_serve.bench.setting import Photo, Setting, labels, model_name, photo_at
from lseg_serve.bench.timing import Times, interleaved
from lseg_serve.client import form, read_mask
from lseg_serve.handler.process.threads import usable_cores
from lseg_serve.segmenter import StaticImageSizeParams, choose_bucket, make_buckets
from lseg_serve.server import LocalServer

SIZES = ((320, 240), (640, 480), (1920, 1080), (4000, 3000))
COUNTS = (1, 20, 150)
_STAGES = ("decode", "text", "network", "mask", "embed")  # names in Server-Timing; columns of a row end in _ms
_DURATION = re.compile(r"(\w+);dur=([\d.]+)")


@dataclass
class Served:
    """One model at a server, the photos to send in turn, and what the last response held."""

    url: str
    photos: Sequence[Photo]
    labels: Sequence[str]
    mode: str = "fast"
    content: bytes = b""  # of the last response
    stages: list[dict[str, float]] = field(default_factory=list)  # milliseconds of each, by request
    prepared: list[tuple[bytes, str]] = field(default_factory=list)  # body and type for each photo, or none

    def prepare(self) -> None:
        """Encode every request before the clock starts. This takes the client a millisecond for each."""
        self.prepared = [self._request(photo) for photo in self.photos]

    def send(self) -> None:
        """Send the next photo and keep the response. After the last photo comes the first again."""
        place = len(self.stages) % len(self.photos)
        body, content_type = self.prepared[place] if self.prepared else self._request(self.photos[place])
        self._connection.request("POST", urlsplit(self.url).path, body, {"Content-Type": content_type})
        response = self._connection.getresponse()
        self.content = response.read()
        if response.status != HTTPStatus.OK:
            raise RuntimeError(f"{self.url} responded with {response.status}: {self.content[:500]!r}")
        timing = response.headers["Server-Timing"]
        self.stages.append({name: float(value) for name, value in _DURATION.findall(timing)})

    @cached_property
    def _connection(self) -> HTTPConnection:
        """Python's own client, kept open: httpx2 takes 0.3 ms more for each response."""
        return HTTPConnection(urlsplit(self.url).netloc, timeout=1200)

    def _request(self, photo: Photo) -> tuple[bytes, str]:
        return form({"labels": ",".join(self.labels), "mode": self.mode}, photo.content)

    @property
    def mask(self) -> npt.NDArray[np.uint8]:
        """The mask [H, W] of the last response, decoded after the clock has stopped."""
        return read_mask(self.content).indices


@contextmanager
def serving(setting: Setting, folder: Path, threads: int | None = None) -> Iterator[tuple[LocalServer, float]]:
    """A server with one model of one worker for each precision, and the seconds until all were ready."""
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


@dataclass(frozen=True)
class _Case:
    size: tuple[int, int]  # width, height
    labels: int
    new_labels: bool = False
    new_images: bool = True


_CASES = (
    *(_Case(size, 20) for size in SIZES),
    *(_Case((640, 480), count) for count in COUNTS if count != 20),
    _Case((640, 480), 20, new_labels=True),
    _Case((640, 480), 20, new_labels=True, new_images=False),
    _Case((640, 480), 20, new_images=False),
)


def measure(setting: Setting, folder: Path, runs: int) -> list[Row]:
    """Fast mode: every size with 20 labels, every number of labels at 640x480, cached and new labels and images.

    The precisions take turns, so each may use every core.
    """
    naive = setting.naive()
    rows: list[Row] = []
    with serving(setting, folder, usable_cores()) as (server, _):
        for case in _CASES:
            rows += _measured(case, setting, naive, server, runs)
    return rows


def _measured(case: _Case, setting: Setting, naive: Naive, server: LocalServer, runs: int) -> list[Row]:
    width, height = case.size
    bucket = choose_bucket(make_buckets(StaticImageSizeParams()), height, width)
    # Each case has photos of its own: those of another case would be feature cache hits.
    first = 100 * _CASES.index(case)
    photos = [photo_at(width, height, first + number) for number in range(runs + 1 if case.new_images else 1)]
    expected: list[npt.NDArray[np.uint8]] = []

    def naively() -> None:
        pixels = photos[len(expected) % len(photos)].pixels
        expected.append(naive.fast(pixels, labels(case.labels), (bucket.height, bucket.width)))

    ways: dict[str, Callable[[], object]] = {"naive": naively}
    served: dict[str, Served] = {}
    for precision in setting.precisions:
        url = f"{server.addresses.inference_url}/predictions/{model_name(precision)}"
        served[precision] = Served(url, photos, labels(case.labels))
        ways[precision] = _with_new_labels(served[precision]) if case.new_labels else served[precision].send
    times = interleaved(ways, runs)
    return [_row(case, name, each, times["naive"], served.get(name), expected[-1]) for name, each in times.items()]


def _row(
    case: _Case, name: str, times: Times, naive: Times, served: Served | None, expected: npt.NDArray[np.uint8]
) -> Row:
    columns = times.columns()
    if served is not None:
        del columns["cpu_s"]  # of this process, which only waits
        columns |= stage_columns(served, times)
        if not case.new_labels:
            columns["agreement"] = _agreement(served.mask, expected)
    return Row(
        scenario="endpoint",
        path=name,
        where="process" if served is None else "endpoint",
        labels=case.labels,
        image=f"{case.size[0]}x{case.size[1]}",
        text="cold" if case.new_labels else "warm",
        features="cold" if case.new_images else "warm",
        ratio=naive.median / times.median,
        **columns,  # type: ignore[arg-type]
    )


def stage_columns(served: Served, times: Times) -> dict[str, float]:
    """Medians in milliseconds: each stage by the worker's own clock, and the overhead, which is all but the network.

    The first request is a warm-up and does not count. The overhead is the median of each request's own difference,
    because the network's time varies by more than the rest takes.
    """
    counted = served.stages[1:]
    overhead = [1000 * wall - stages["network"] for wall, stages in zip(times.wall, counted, strict=True)]
    medians = {
        f"{stage}_ms": float(np.median([stages[stage] for stages in counted]))
        for stage in _STAGES
        if stage in counted[0]
    }
    return medians | {"overhead_ms": float(np.median(overhead))}


_asked = itertools.count()


def _with_new_labels(served: Served) -> Callable[[], object]:
    count = len(served.labels)

    def send() -> None:
        served.labels = labels(count, f"number {next(_asked)}")
        served.send()

    return send


def _agreement(found: npt.NDArray[np.uint8], expected: npt.NDArray[np.uint8]) -> float:
    return float(np.mean(found == expected))


def measure_accurate(setting: Setting, folder: Path, size: tuple[int, int] = (640, 480), count: int = 20) -> list[Row]:
    """Accurate mode, once each: the naive path takes minutes for an image."""
    naive, photo = setting.naive(), photo_at(*size)
    rows, masks = [], {}
    with serving(setting, folder, usable_cores()) as (server, _):
        start = time.perf_counter()
        masks["naive"] = naive.accurate_scores(photo.pixels, labels(count)).argmax(dim=0).numpy().astype(np.uint8)
        seconds = {"naive": time.perf_counter() - start}
        for precision in setting.precisions:
            url = f"{server.addresses.inference_url}/predictions/{model_name(precision)}"
            served = Served(url, [photo], labels(count), mode="accurate")
            start = time.perf_counter()
            served.send()
            seconds[precision] = time.perf_counter() - start
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
                agreement=None if name == "naive" else _agreement(masks[name], masks["naive"]),
            )
        )
    return rows


def worker_processes(server: LocalServer, model: str) -> list[psutil.Process]:
    """The workers of `model`."""
    return [psutil.Process(worker["pid"]) for worker in server.workers(model)]
