"""Numbers that only grow, and how much each has grown since it was last reported.

TorchServe adds up what a worker reports, so a worker reports differences. Histograms are counters as well, in
Prometheus' own form: for each bound a counter `NAME_bucket` with the dimension `le`, and `NAME_sum`, `NAME_count`.
TorchServe has histograms, too, but with fixed bounds from 5 ms to 10 s: a request whose image is in the cache takes
less than the first, one in accurate mode more than the last.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# Of any time that a request or a stage takes, in seconds.
SECONDS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
# Of the number of labels in a request.
LABELS_BOUNDS = (1, 2, 5, 10, 20, 40, 80, 160, 255)

Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Growth:
    """How much a counter has grown since the last report; 0 where it is reported for the first time."""

    name: str
    dimensions: Dimensions
    value: float


class Totals:
    """Counters and histograms by name and dimensions. Any number of threads may use one."""

    def __init__(self) -> None:
        self._totals: dict[tuple[str, Dimensions], float] = {}
        self._reported: dict[tuple[str, Dimensions], float] = {}
        self._lock = threading.Lock()

    def add(self, name: str, value: float, **dimensions: str) -> None:
        """Let a counter grow by `value`; 0 makes it known, so that it is reported before its first event."""
        with self._lock:
            self._grow(name, tuple(dimensions.items()), value)

    def follow(self, name: str, total: float, **dimensions: str) -> None:
        """Set a counter to what something else has counted."""
        with self._lock:
            self._totals[name, tuple(dimensions.items())] = total

    def observe(self, name: str, bounds: Sequence[float], value: float, **dimensions: str) -> None:
        """Add one observation to a histogram with these upper bounds, in ascending order."""
        self._observe(name, bounds, value, tuple(dimensions.items()))

    def prepare(self, name: str, bounds: Sequence[float], **dimensions: str) -> None:
        """Make a histogram known, so that it is reported before its first observation."""
        self._observe(name, bounds, None, tuple(dimensions.items()))

    def growth(self) -> Iterator[Growth]:
        """What has grown, or was never reported. Each counts as reported once the next one is asked for.

        So one whose report fails is reported again. One thread at a time takes from it.
        """
        with self._lock:
            changed = {key: total for key, total in self._totals.items() if self._reported.get(key) != total}
        for key, total in changed.items():
            yield Growth(*key, total - self._reported.get(key, 0))
            self._reported[key] = total

    def read(self) -> Mapping[tuple[str, Dimensions], float]:
        """All totals, by name and dimensions."""
        with self._lock:
            return dict(self._totals)

    def _observe(self, name: str, bounds: Sequence[float], value: float | None, dimensions: Dimensions) -> None:
        first = len(bounds) + 1 if value is None else bisect_left(bounds, value)
        with self._lock:
            for index, bound in enumerate((*bounds, "+Inf")):
                self._grow(f"{name}_bucket", (*dimensions, ("le", str(bound))), float(index >= first))
            self._grow(f"{name}_sum", dimensions, value or 0.0)
            self._grow(f"{name}_count", dimensions, float(value is not None))

    def _grow(self, name: str, dimensions: Dimensions, value: float) -> None:
        key = (name, dimensions)
        self._totals[key] = self._totals.get(key, 0) + value
