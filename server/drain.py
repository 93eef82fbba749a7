"""The end of a server: nobody is sent here any more, who waits is answered, and only then does TorchServe end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lseg_serve.server.connections import Connection, connections_to

_POLL_SECONDS = 0.25
# A request that was read but not yet given to a worker, or an answer that is about to be written, shows in the next.
_QUIET_POLLS = 3


@dataclass(frozen=True)
class Patience:
    """How long the parts of an end may take, in seconds."""

    leave: float  # until balancers have seen that this server is not ready and send nothing new
    answer: float  # for the answers that are due then


@dataclass(frozen=True)
class Drained:
    """How a drain went."""

    seconds: float
    waiting: int  # connections whose answers are still due

    def __str__(self) -> str:
        if self.waiting:
            return f"{self.waiting} requests are cut off, after {self.seconds:.1f} s"
        return f"every request is answered, after {self.seconds:.1f} s"


def drain(ports: list[int], patience: Patience, alive: Callable[[], bool]) -> Drained:
    """Wait until nobody waits for an answer on `ports`, or `patience` is at its end, or `alive` does not hold.

    Idle connections that a client keeps for later do not count.

    Raises:
        ServerError: the connections cannot be told.
    """
    start = time.monotonic()
    _sleep(patience.leave, alive)
    deadline = time.monotonic() + patience.answer
    quiet = 0
    waiting = _waiting(ports)
    while alive():
        quiet = 0 if waiting else quiet + 1
        if quiet == _QUIET_POLLS or time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
        waiting = _waiting(ports)
    return Drained(time.monotonic() - start, len(waiting))


def _waiting(ports: list[int]) -> list[Connection]:
    return [connection for connection in connections_to(ports) if connection.waits]


def _sleep(seconds: float, alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while alive() and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _POLL_SECONDS))
