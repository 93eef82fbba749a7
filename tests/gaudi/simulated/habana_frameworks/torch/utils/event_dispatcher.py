"""Events of the device, and who listens to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto

Listener = Callable[[int, list[tuple[str, str]]], None]


class EventId(Enum):
    """What can happen on the device."""

    GRAPH_COMPILATION = auto()
    CPU_FALLBACK = auto()
    MEMORY_DEFRAGMENTATION = auto()
    CACHE_HIT = auto()
    CACHE_MISS = auto()
    MARK_STEP = auto()
    DEVICE_ACQUIRED = auto()


class EventDispatcher:
    """Calls the listeners of an event with the time in microseconds and (key, value) pairs, values as text."""

    _instance: EventDispatcher | None = None

    def __init__(self) -> None:
        self._listeners: dict[int, tuple[EventId, Listener]] = {}
        self._next = 0

    @classmethod
    def instance(cls) -> EventDispatcher:
        """The one of this process."""
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def subscribe(self, event: EventId, listener: Listener) -> int:
        """Call `listener` at every `event` from now on; returns the handle to end it."""
        self._next += 1
        self._listeners[self._next] = (event, listener)
        return self._next

    def unsubscribe(self, handle: int) -> None:
        """End a subscription."""
        self._listeners.pop(handle, None)

    def publish(self, event: EventId, **values: object) -> None:
        """Tell everyone who listens to `event`."""
        pairs = [(key, str(value)) for key, value in values.items()]
        for wanted, listener in list(self._listeners.values()):
            if wanted is event:
                listener(time.time_ns() // 1000, pairs)


def publish(event: EventId, **values: object) -> None:
    """Publish by the dispatcher of this process."""
    EventDispatcher.instance().publish(event, **values)
