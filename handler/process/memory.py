"""Freed host memory: kept while requests compute, given back to the system while the worker is idle."""

from __future__ import annotations

import ctypes
import sys
import threading
import time

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
_NEVER, _LARGEST = 2**31 - 1, 32 * 2**20  # bytes: the most that mallopt accepts for each


def keep_freed_memory() -> None:
    """Let freed memory stay with the process, so that the next tensor needs no new pages of it.

    Otherwise glibc gives a tensor's memory back when it is freed and asks for it again a layer later: 200 000 page
    faults for one image in ViT-L/16. Without glibc nothing changes.
    """
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_TRIM_THRESHOLD, _NEVER)  # type: ignore[union-attr]
        _LIBC.mallopt(_MMAP_THRESHOLD, _LARGEST)  # type: ignore[union-attr]


def trim_memory() -> None:
    """Give freed memory back to the system: after an image in ViT-L/16 300 MB, in 25 ms. Needs glibc, as above."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)  # type: ignore[union-attr]


class IdleTrimmer:
    """Gives freed memory back once the process has been idle for some time, so that no request waits for it.

    One thread watches for as long as the process lives: starting one for each request would cost it 0.1 ms.
    """

    def __init__(self, idle_seconds: float = 0.5) -> None:
        self._idle_seconds = idle_seconds
        self._busy = False
        self._idle_since = 0.0
        self._work_ended = threading.Event()
        self._watcher: threading.Thread | None = None

    def begin_work(self) -> None:
        """Keep the memory: it will be needed."""
        self._busy = True

    def end_work(self) -> None:
        """Give the memory back, unless other work begins soon."""
        self._busy = False
        self._idle_since = time.monotonic()
        self._work_ended.set()
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._trim_when_idle, name="idle-trimmer", daemon=True)
            self._watcher.start()

    def _trim_when_idle(self) -> None:
        while self._work_ended.wait():
            while (left := self._idle_since + self._idle_seconds - time.monotonic()) > 0:
                time.sleep(left)
            self._work_ended.clear()
            if not self._busy:  # otherwise `end_work` is still to come, and wakes this thread again
                trim_memory()
