"""What a worker does for its own process around its requests: set its threads, keep and release memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lseg_serve.handler.process.memory import IdleTrimmer, keep_freed_memory
from lseg_serve.handler.process.workers import ThreadShare


class ProcessTuning:
    """Tunes this process: `start` once, before the model is loaded, and `busy` around every piece of work."""

    def __init__(self) -> None:
        self._threads: ThreadShare | None = None
        self._memory = IdleTrimmer()

    def start(self) -> None:
        """Prepare this process. On every device: images are decoded and masks made by the host's threads and memory."""
        self._threads = ThreadShare()
        keep_freed_memory()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Around loading the model, and around every batch. What takes time is done after it, in the background."""
        self._memory.begin_work()
        if self._threads is not None:
            self._threads.apply()
        try:
            yield
        finally:
            self._memory.end_work()
            if self._threads is not None:
                self._threads.update_later()
