"""Streams and events: there is one queue here, and what is asked of it is to run what is pending."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from habana_frameworks.torch.simulated.counts import TOTALS
from habana_frameworks.torch.simulated.device import DEVICE
from habana_frameworks.torch.simulated.recorder import RECORDER


def synchronize(device: Any = None) -> None:
    """Run what is pending and wait for it."""
    RECORDER.cut("synchronize")
    DEVICE.check()
    TOTALS.syncs += 1


class Stream:
    """The one queue."""

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.priority = priority

    def query(self) -> bool:
        """Whether everything is done; asking cuts the graph."""
        RECORDER.cut("Stream.query")
        return True

    def synchronize(self) -> None:
        """Run what is pending and wait for it."""
        synchronize()

    def wait_stream(self, stream: Stream) -> None:
        """Nothing to wait for: there is one queue."""

    def record_event(self, event: Event | None = None) -> Event:
        """An event at the queue's end."""
        event = event or Event()
        event.record(self)
        return event


class Event:
    """A place in the queue."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.enable_timing = enable_timing
        self._time = 0.0

    def record(self, stream: Stream | None = None) -> None:
        """Put the event after what is pending, which cuts the graph."""
        RECORDER.cut("Event.record")
        self._time = time.perf_counter()

    def wait(self, stream: Stream | None = None) -> None:
        """Nothing to wait for."""

    def query(self) -> bool:
        """Whether it has been reached."""
        return True

    def synchronize(self) -> None:
        """Wait until it has been reached."""
        TOTALS.syncs += 1

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to `end`."""
        return (end._time - self._time) * 1000


_DEFAULT = Stream()


def current_stream(device: Any = None) -> Stream:
    """The one queue."""
    return _DEFAULT


def default_stream(device: Any = None) -> Stream:
    """The one queue."""
    return _DEFAULT


def set_stream(stream: Stream) -> None:
    """Nothing: there is one queue."""


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """A context that changes nothing."""
    yield
