"""Numbers that only grow, and how much each has grown since it was last reported.

TorchServe adds up what a worker reports, so a worker reports differences. Histograms are counters as well, in
Prometheus' own form: for each bound a counter `NAME_bucket` with the dimension `le`, and `NAME_sum`, `NAME_count`.
TorchServe has histograms, too, but with fixed bounds from 5 ms to 10 s: a request whose image is in the cache takes
less than the first, one in accurate mode more than the last.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

# Of any time that a request or a stage takes, in seconds.
SECONDS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
# Of the number of labels in a request.
LABELS_BOUNDS = (1, 2, 5, 10, 20, 40, 80, 160, 255)

Dimensions = tuple[tuple[str, str], ...]
Key = tuple[str, Dimensions]  # name and dimensions


@dataclass(frozen=True)
class Growth:
    """How much a counter has grown since the last report; 0 where it is reported for the first time."""

    name: str
    dimensions: Dimensions
    value: float


@dataclass
class _Histogram:
    """Observations by the smallest bound that they do not exceed; the last place has those above all bounds."""

    bounds: Sequence[float]
    counts: list[int]
    sum: float = 0.0


class Totals:
    """Counters and histograms by name and dimensions. Any number of threads may use one."""

    def __init__(self) -> None:
        self._counters: dict[Key, float] = {}
        self._histograms: dict[Key, _Histogram] = {}
        self._reported: dict[Key, float] = {}
        self._lock = threading.Lock()

    def add(self, name: str, value: float, **dimensions: str) -> None:
        """Let a counter grow by `value`; 0 makes it known, so that it is reported before its first event."""
        key = (name, tuple(dimensions.items()))
        with self._lock:
            self._counters[key] = self._counters.get(key, 0) + value

    def follow(self, name: str, total: float, **dimensions: str) -> None:
        """Set a counter to what something else has counted."""
        with self._lock:
            self._counters[name, tuple(dimensions.items())] = total

    def prepare(self, name: str, bounds: Sequence[float], **dimensions: str) -> None:
        """Make a histogram known, with these upper bounds in ascending order. It is reported from then on."""
        with self._lock:
            self._histograms[name, tuple(dimensions.items())] = _Histogram(bounds, [0] * (len(bounds) + 1))

    def observe(self, name: str, value: float, **dimensions: str) -> None:
        """Add one observation to a histogram.

        Raises:
            KeyError: `prepare` did not make it known.
        """
        with self._lock:
            histogram = self._histograms[name, tuple(dimensions.items())]
            histogram.counts[bisect_left(histogram.bounds, value)] += 1
            histogram.sum += value

    def growth(self) -> Iterator[Growth]:
        """What has grown, or was never reported. Each counts as reported once the next one is asked for.

        So one whose report fails is reported again. One thread at a time takes from it.
        """
        for key, total in self._read().items():
            if self._reported.get(key) != total:
                yield Growth(*key, total - self._reported.get(key, 0))
                self._reported[key] = total

    def _read(self) -> dict[Key, float]:
        """All counters, those of histograms among them."""
        with self._lock:
            totals = dict(self._counters)
            for (name, dimensions), histogram in self._histograms.items():
                cumulated = list(accumulate(histogram.counts))
                for bound, count in zip((*histogram.bounds, "+Inf"), cumulated, strict=True):
                    totals[f"{name}_bucket", (*dimensions, ("le", str(bound)))] = count
                totals[f"{name}_sum", dimensions] = histogram.sum
                totals[f"{name}_count", dimensions] = cumulated[-1]
        return totals
