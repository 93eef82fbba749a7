"""How many workers share the machine, so that all of them together use its cores once.

Two workers with as many threads as there are cores mostly wait for each other. Workers come and go by TorchServe's
management API, so the configuration does not tell their number, and each worker counts them again and again. It counts
after a response, in the background, and uses what it found from the next request on: no request waits for it.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import torch

from lseg_serve.handler.process.threads import set_by_environment, threads_per_worker

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_COUNTS = 2.0
# A count holds up the rest of the process; by then TorchServe's code has sent the response.
_SECONDS_TO_SEND = 0.1
_WORKER = "model_service_worker.py"  # in the command line of each of TorchServe's workers


class ThreadShare:
    """This worker's share of the cores, as torch's number of threads. A number from the environment is left alone."""

    def __init__(self) -> None:
        self._fixed = set_by_environment()
        self._counter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="count-workers")
        self._next_count = 0.0
        self._threads = 0
        if not self._fixed:
            self._update()

    def apply(self) -> None:
        """Let torch compute with this worker's share, as it was at the last count."""
        if not self._fixed and self._threads != torch.get_num_threads():
            logger.info("Computing with %d threads", self._threads)
            torch.set_num_threads(self._threads)

    def update_later(self) -> None:
        """Count the workers again in the background, unless that was done a moment ago.

        A count takes 3 ms among 60 processes, and longer among more of them: each is asked for its parent.
        """
        if not self._fixed and time.monotonic() >= self._next_count:
            self._next_count = time.monotonic() + _SECONDS_BETWEEN_COUNTS
            self._counter.submit(self._update, _SECONDS_TO_SEND)

    def _update(self, wait: float = 0.0) -> None:
        time.sleep(wait)
        self._threads = threads_per_worker(count_workers())


def count_workers() -> int:
    """The workers of the TorchServe that started this process, this one among them; 1 where none did."""
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
