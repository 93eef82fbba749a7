"""No warnings while an image is decoded, also where several threads decode at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class _Quiet:
    """Python keeps one list of warning filters for all threads, and `catch_warnings` puts the old list back.

    If two threads did so on their own, the one that ends last could put the other's list back, for good. So the first
    thread that enters changes the list, and the last one that leaves restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._restore = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._restore.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore.close()


_QUIET = _Quiet()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore all warnings in the block: Pillow warns of odd metadata, which is no reason to refuse an image."""
    _QUIET.enter()
    try:
        yield
    finally:
        _QUIET.leave()
