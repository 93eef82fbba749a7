"""Several workers and many clients at once: images a second, latencies, processor time, memory and start-up."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from lseg_serve.bench.endpoint import Served, serving, worker_processes
from lseg_serve.bench.rows import Row
from lseg_serve.bench.setting import Setting, labels, model_name, photo_at
from lseg_serve.client import LSegClient
from lseg_serve.handler.process.threads import threads_per_worker
from lseg_serve.server import LocalServer

WORKERS = (1, 2, 4)
CLIENTS = (1, 4, 16)
_SIZE, _LARGE = (640, 480), (6000, 4000)
_LABELS = 20
_REST_SECONDS = 2  # after which a worker has returned freed memory to the system


def measure(setting: Setting, folder: Path, runs: int) -> list[Row]:
    """Every precision, number of workers and number of clients. Workers times threads is the number of cores.

    Each case has at least `runs` requests, and each client at least one. A single worker also gets an image of 24
    megapixels.
    """
    rows: list[Row] = []
    for precision in setting.precisions:
        alone = replace(setting, precisions=(precision,))
        for workers in WORKERS:
            with serving(alone, folder, threads_per_worker(workers)) as (server, ready):
                _scale(server, model_name(precision), workers)
                rows += [_loaded(server, precision, workers, clients, ready, runs) for clients in CLIENTS]
                if workers == 1:
                    rows.append(_loaded(server, precision, 1, 1, None, 2, _LARGE))
    return rows


def _scale(server: LocalServer, model: str, workers: int) -> None:
    addresses = server.addresses
    with LSegClient(addresses.inference_url, model, management_url=addresses.management_url) as client:
        client.scale(workers)


_numbers = itertools.count()  # of photos, so that none is a feature cache hit


def _loaded(
    server: LocalServer,
    precision: str,
    workers: int,
    clients: int,
    ready: float | None,
    runs: int,
    size: tuple[int, int] = _SIZE,
) -> Row:
    url = f"{server.addresses.inference_url}/predictions/{model_name(precision)}"
    each = -(-runs // clients)
    senders = [
        Served(url, [photo_at(*size, next(_numbers)) for _ in range(each)], labels(_LABELS)) for _ in range(clients)
    ]
    _cache_labels(url, workers)
    processes = worker_processes(server, model_name(precision))
    before = sum(_cpu_seconds(process) for process in processes)
    start = time.perf_counter()
    latencies = _at_once(senders, each)
    elapsed = time.perf_counter() - start
    cpu = sum(_cpu_seconds(process) for process in processes) - before
    time.sleep(_REST_SECONDS)
    return Row(
        scenario="load",
        path=precision,
        where="endpoint",
        workers=workers,
        clients=clients,
        labels=_LABELS,
        image=f"{size[0]}x{size[1]}",
        runs=len(latencies),
        median_ms=1000 * float(np.median(latencies)),
        p90_ms=1000 * float(np.quantile(latencies, 0.9)),
        fastest_ms=1000 * min(latencies),
        images_per_s=len(latencies) / elapsed,
        cpu_s=cpu / len(latencies),
        peak_mb=max(_peak(process) for process in processes) / 1e6,
        unique_mb=max(process.memory_full_info().uss for process in processes) / 1e6,
        ready_s=ready if workers == 1 else None,
    )


def _cache_labels(url: str, workers: int) -> None:
    """Send a small image until every worker has the labels in its cache; the workers take turns."""
    for _ in range(2):
        _at_once([Served(url, [photo_at(64, 64)], labels(_LABELS)) for _ in range(workers)], 1)


def _at_once(senders: list[Served], requests_each: int) -> list[float]:
    """Let each of `senders` send its requests, all at the same time; the seconds of each request."""
    latencies: list[float] = []

    def send(served: Served) -> None:
        for _ in range(requests_each):
            start = time.perf_counter()
            served.send()
            latencies.append(time.perf_counter() - start)

    threads = [threading.Thread(target=send, args=(served,)) for served in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak(process: psutil.Process) -> int:
    """The most memory the process ever had resident, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
