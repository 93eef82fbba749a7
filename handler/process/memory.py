"""Freed host memory: kept while requests compute, given back to the system in the pauses between them."""

from __future__ import annotations

import ctypes
import sys
import threading
import time

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_NEVER, _LARGEST = 2**31 - 1, 32 * 2**20  # bytes: what mallopt takes at most, for each


def keep_freed() -> None:
    """Let freed memory stay with the process, so that the next tensor needs no new pages of it.

    Otherwise glibc gives a tensor's memory back when it is freed and asks for it again a layer later: 200 000 page
    faults for one image in ViT-L/16. Without glibc nothing changes.
    """
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_TRIM_THRESHOLD, _NEVER)  # type: ignore[union-attr]
        _LIBC.mallopt(_MMAP_THRESHOLD, _LARGEST)  # type: ignore[union-attr]


def give_back() -> None:
    """Return freed memory to the system: after an image in ViT-L/16 300 MB in each worker, which takes 25 ms."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)  # type: ignore[union-attr]


class IdleRelease:
    """Gives memory back once nothing has been asked for a while, so that no request waits for it.

    One thread waits for all requests: to start one for each would take a tenth of a millisecond from it.
    """

    def __init__(self, seconds: float = 0.5) -> None:
        self._seconds = seconds
        self._busy = False
        self._idle_since = 0.0
        self._ended = threading.Event()
        self._watch: threading.Thread | None = None

    def begin(self) -> None:
        """A request has come: the memory will be needed."""
        self._busy = True

    def end(self) -> None:
        """It is answered; if no other comes for a while, its memory goes back."""
        self._busy = False
        self._idle_since = time.monotonic()
        self._ended.set()
        if self._watch is None:
            self._watch = threading.Thread(target=self._release_when_idle, name="idle-release", daemon=True)
            self._watch.start()

    def _release_when_idle(self) -> None:
        while self._ended.wait():
            while (left := self._idle_since + self._seconds - time.monotonic()) > 0:
                time.sleep(left)
            self._ended.clear()
            if not self._busy:  # else the request at hand will end, too
                give_back()
