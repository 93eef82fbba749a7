"""What a soak records of each process, and whether it stays flat."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_type_hints

import numpy as np
import psutil

from lseg_serve.bench.rows import RESULTS

FILE = "soak.csv"
NAMES = {"resident_mb": "resident MB", "handles": "open handles", "threads": "threads"}
# The first part of a soak fills caches and lets Java's heap and compiled code find their size: it is not counted.
_WARM_UP = 1 / 3
# A quantity is flat if its line of best fit rises by no more than this share of its mean, or by the number beside it,
# whichever is more. 0.1 kB lost with each of 100 requests a second would be 36 MB in an hour.
_BOUNDS = {"resident_mb": (0.05, 25.0), "handles": (0.0, 5.0), "threads": (0.0, 5.0)}


@dataclass(frozen=True)
class Sample:
    """One process at one time. Memory is 10^6 bytes."""

    minute: float
    process: str  # Java, or worker
    resident_mb: float
    handles: int  # open files and sockets
    threads: int
    requests: int  # sent by then
    failed: int  # of these, without the answer that was due

    @classmethod
    def of(cls, process: psutil.Process, name: str, minute: float, requests: int, failed: int) -> Sample:
        """The process as it is now.

        Raises:
            psutil.NoSuchProcess: it has ended.
        """
        resident = round(process.memory_info().rss / 1e6, 1)
        return cls(round(minute, 2), name, resident, process.num_fds(), process.num_threads(), requests, failed)


@dataclass(frozen=True)
class Trend:
    """How a quantity changed over the counted time, along its line of best fit, and how much it may."""

    change: float
    bound: float

    @property
    def is_flat(self) -> bool:
        """Whether it rose by no more than it may. A fall is no leak."""
        return self.change <= self.bound


def after_warm_up(samples: Sequence[Sample]) -> list[Sample]:
    """The samples that count."""
    end = max((sample.minute for sample in samples), default=0.0)
    return [sample for sample in samples if sample.minute >= _WARM_UP * end]


def trends_of(samples: Sequence[Sample]) -> dict[str, Trend]:
    """The trend of each quantity of one process, by the names of the fields. A single sample has none: 0."""
    minutes = np.array([sample.minute for sample in samples])
    trends = {}
    for quantity, (share, number) in _BOUNDS.items():
        values = np.array([float(getattr(sample, quantity)) for sample in samples])
        slope = float(np.polyfit(minutes, values, 1)[0]) if len(samples) > 1 else 0.0
        trends[quantity] = Trend(slope * float(np.ptp(minutes)), max(share * float(values.mean()), number))
    return trends


def not_flat(samples: Sequence[Sample]) -> list[str]:
    """What grew by more than its bound, in words; empty where all is flat."""
    counted = after_warm_up(samples)
    found = []
    for name in dict.fromkeys(sample.process for sample in counted):
        trends = trends_of([sample for sample in counted if sample.process == name])
        found += [
            f"{name}: {NAMES[quantity]} rose by {trend.change:.1f}; accepted: up to {trend.bound:.1f}"
            for quantity, trend in trends.items()
            if not trend.is_flat
        ]
    return found


def write_samples(samples: Iterable[Sample], folder: Path = RESULTS) -> Path:
    """Write `samples` to soak.csv; an older file is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Sample)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(sample) for sample in samples)
    return path


def read_samples(folder: Path = RESULTS) -> list[Sample]:
    """The samples of soak.csv; none where there is no such file."""
    path = folder / FILE
    if not path.exists():
        return []
    types = get_type_hints(Sample)
    with path.open(newline="", encoding="utf-8") as file:
        return [Sample(**{key: types[key](text) for key, text in line.items()}) for line in csv.DictReader(file)]
