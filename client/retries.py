"""When a refused request is sent again: after a 503, or where its worker died, with growing waits and a bound."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from lseg_serve.client.errors import BadInput, NotReady, Overloaded, Refused, WorkerDied


@dataclass(frozen=True)
class Retries:
    """How often and how patiently a request is sent again.

    Before try n + 1 the client waits half of `first_wait` * 2 ** (n - 1) seconds, at most of `longest_wait`, and a
    random part of the other half, so that clients that were refused together do not return together. A header
    `Retry-After` makes the wait longer, never shorter.

    Attributes:
        attempts: tries in all; 1 sends nothing again.
        worker_died: how many of the further tries may follow "Worker died.": a request that itself ends workers
            should not end many.
        first_wait: seconds.
        longest_wait: seconds.
        total: seconds from the first try, after which no other begins. A longer `Retry-After` ends the tries at once.
    """

    attempts: int = 6
    worker_died: int = 2
    first_wait: float = 0.5
    longest_wait: float = 15
    total: float = 600

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise BadInput(f"attempts is {self.attempts}; accepted: 1 or more")
        for name in ("worker_died", "first_wait", "longest_wait", "total"):
            if not getattr(self, name) >= 0:
                raise BadInput(f"{name} is {getattr(self, name)}; accepted: 0 or more")


@dataclass
class Tries:
    """The tries of one request so far."""

    rules: Retries
    _started: float = field(default_factory=time.monotonic)
    _refused: int = 0
    _deaths: int = 0

    def wait_after(self, error: Refused) -> float:
        """The seconds until the next try, after one ended in `error`.

        Raises:
            Refused: `error` itself, where there is no next try.
        """
        self._refused += 1
        self._deaths += isinstance(error, WorkerDied)
        if not _may_pass(error) or self._refused >= self.rules.attempts or self._deaths > self.rules.worker_died:
            raise error
        # An exponent beyond 60 changes nothing, and one beyond 1023 no float can hold.
        longest: float = min(self.rules.first_wait * 2 ** min(self._refused - 1, 60), self.rules.longest_wait)
        wait = max(longest * random.uniform(0.5, 1), seconds_in(error.retry_after))
        if time.monotonic() - self._started + wait > self.rules.total:
            raise error
        return wait


def seconds_in(retry_after: str | None) -> float:
    """The seconds that the header `Retry-After` names, as a number or as a date; 0 where it names none."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())


def _may_pass(error: Refused) -> bool:
    """Whether the same request may be answered later. A worker killed for its memory (413) would be killed again."""
    if isinstance(error, WorkerDied):
        return error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, NotReady | Overloaded)
