"""How many workers compute beside this one, so that all of them together use the machine's cores once.

Two workers with as many threads as there are cores mostly wait for each other. Workers come and go by the management
API, so their number is looked up now and then, and not taken from the configuration: after an answer, so that no
request waits for it, and the next one computes with what was found.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import torch

from lseg_serve.handler.process.threads import is_chosen, threads_per_worker

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_TO_SEND = 0.1  # an answer, before Python is busy with something else
_WORKER = "model_service_worker.py"


class ThreadShare:
    """Sets this worker's threads to its share of the cores, unless the environment has chosen a number."""

    def __init__(self) -> None:
        self._chosen = is_chosen()
        self._looks = ThreadPoolExecutor(max_workers=1, thread_name_prefix="neighbours")
        self._next_look = 0.0
        self._threads = 0
        if not self._chosen:
            self._look()

    def follow(self) -> None:
        """Compute with as many threads as were due at the last look."""
        if not self._chosen and self._threads != torch.get_num_threads():
            logger.info("Computing with %d threads", self._threads)
            torch.set_num_threads(self._threads)

    def look_soon(self) -> None:
        """Count the workers again, unless that was just done; the caller does not wait for it.

        It takes 3 ms among 60 processes and grows with their number, since each is asked for its parent.
        """
        if not self._chosen and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
            self._looks.submit(self._look, _SECONDS_TO_SEND)

    def _look(self, wait: float = 0.0) -> None:
        time.sleep(wait)
        self._threads = threads_per_worker(count_workers())


def count_workers() -> int:
    """The workers of the frontend that started this process, this one among them; 1 where nothing did."""
    try:
        parent = psutil.Process().parent()
        children = [] if parent is None else parent.children()
        return max(1, sum(_is_worker(child) for child in children))
    except psutil.Error:
        return 1


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any(part.endswith(_WORKER) for part in process.cmdline())
    except psutil.Error:
        return False
