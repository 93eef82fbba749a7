"""How many threads a worker computes with, so that all workers together have as many as the machine has cores."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

# Whoever sets one of these has chosen a number of threads for every worker. Torch reads them itself.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # a container's limit of processor time, by cgroup v2


def threads_per_worker(workers: int, cores: int | None = None) -> int:
    """The threads of each of `workers` that share `cores`, at least 1; None: the cores this process may use."""
    return max(1, (usable_cores() if cores is None else cores) // max(1, workers))


def usable_cores(cores: int | None = None, cpu_max: Path = _CPU_MAX) -> int:
    """The cores that this process may use: by its affinity and, in a container, by its quota of processor time.

    Args:
        cores: how many it may run on; None: as the operating system says.
        cpu_max: the file with the container's quota; without one there is no limit.
    """
    cores = _affinity() if cores is None else cores
    quota = _quota(cpu_max)
    return max(1, cores if quota is None else min(cores, quota))


def set_by_environment() -> bool:
    """Whether an environment variable sets the number of threads."""
    return any(os.environ.get(name, "").strip() for name in _VARIABLES)


def _affinity() -> int:
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else os.cpu_count() or 1


def _quota(cpu_max: Path) -> int | None:
    """The whole cores in a quota such as `350000 100000`: microseconds of processor time in each such period."""
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
        return int(quota) // int(period)
    except (OSError, ValueError):  # there is no such file, or its quota is "max"
        return None
