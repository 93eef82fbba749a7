"""The server's processes before and after: which they are, and their memory."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from lseg_serve.server import LocalServer

_MB = 1_000_000


@dataclass(frozen=True)
class State:
    """The workers by their process ids, and the resident memory of them and of Java in MB."""

    workers: tuple[int, ...]
    worker_megabytes: int
    java_megabytes: int


def state_of(server: LocalServer, model: str = "lseg") -> State:
    """How `server` is now."""
    workers = tuple(sorted(int(worker["pid"]) for worker in server.workers(model)))
    java = server.process()
    resident = [psutil.Process(pid).memory_info().rss for pid in workers]
    own = 0 if java is None else psutil.Process(java.pid).memory_info().rss
    return State(workers, sum(resident) // _MB, own // _MB)
