"""How many threads a worker computes with, so that all workers together have as many as the machine has cores."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

# Whoever sets one of these has chosen for every worker; torch follows them by itself.
_CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def threads_per_worker(workers: int, cores: int | None = None) -> int:
    """The cores that each of `workers` may use, at least 1; `cores`: those this process may run on."""
    return max(1, (usable_cores() if cores is None else cores) // max(1, workers))


def usable_cores() -> int:
    """The cores this process may run on: by its affinity and, in a container, by its share of processor time."""
    affinity = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count() or 1
    return max(1, min(affinity, _quota()))


def is_chosen() -> bool:
    """Whether the environment says how many threads there shall be."""
    return any(os.environ.get(name, "").strip() for name in _CHOSEN)


def _quota(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The whole cores that a container's limit (cgroup v2) allows; as many as anyone could have without a limit."""
    try:
        limit, period = path.read_text(encoding="ascii").split()
        return max(1, int(limit) // int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return 1_000_000
