"""Several ways of doing the same, timed in turns, so that other work on the machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm


@dataclass(frozen=True)
class Times:
    """The runs of one way: seconds on the clock, and processor seconds of this process."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds."""
        return float(np.median(self.wall))

    def columns(self) -> dict[str, float | int]:
        """The columns of a row that follow from the times."""
        return {
            "runs": len(self.wall),
            "median_ms": 1000 * self.median,
            "p90_ms": 1000 * float(np.quantile(self.wall, 0.9)),
            "fastest_ms": 1000 * min(self.wall),
            "images_per_s": 1 / self.median,
            "cpu_s": float(np.median(self.cpu)),
        }


def interleaved(ways: Mapping[str, Callable[[], object]], runs: int, warm_up: int = 1) -> dict[str, Times]:
    """Run each way `runs` times, in turns, after `warm_up` rounds that do not count."""
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for turn in tqdm(range(-warm_up, runs), desc="interleaved runs", disable=None, leave=False):
        for name, way in ways.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            way()
            if turn >= 0:
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - start_cpu)
    return {name: Times(tuple(wall[name]), tuple(cpu[name])) for name in ways}


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """A context in which torch computes with `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
