"""How many workers compute beside this one, so that all of them together use the machine's cores once.

Two workers with as many threads as there are cores mostly wait for each other. Workers come and go by the management
API, so their number is looked up now and then, and not taken from the configuration.
"""

from __future__ import annotations

import logging
import time

import psutil
import torch

from segmenter.threads import is_chosen, threads_per_worker

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 2.0
_WORKER = "model_service_worker.py"


class ThreadShare:
    """Sets this worker's threads to its share of the cores, unless the environment has chosen a number."""

    def __init__(self) -> None:
        self._next_look = 0.0

    def follow(self) -> None:
        """Look how many workers there are, if that was long ago, and take as many threads as are due."""
        if is_chosen() or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        threads = threads_per_worker(count_workers())
        if threads != torch.get_num_threads():
            logger.info("Computing with %d threads", threads)
            torch.set_num_threads(threads)


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
