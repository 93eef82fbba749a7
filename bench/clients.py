"""Many clients at once, by the clock: each as fast as it is answered, or requests at fixed times whatever comes."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ssl import SSLContext
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from lseg_serve.client import BadAnswer, form, read_mask

REFUSALS = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
# A client that was refused waits so long. Without it, a few refused clients would take the processor from all others.
REFUSED_PAUSE_S = 0.1
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Question:
    """A request and its right answer: the mask uint8 [H, W]."""

    body: bytes
    content_type: str
    mask: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, image: bytes, labels: Sequence[str], mask: npt.NDArray[np.uint8]) -> Question:
        """The question for `labels` on an image file, by a form."""
        return cls(*form({"labels": ",".join(labels)}, image), mask)


@dataclass(frozen=True)
class Endpoint:
    """Where requests go. With a context for TLS and a key it is the front, without them TorchServe."""

    url: str
    tls: SSLContext | None = None
    key: str | None = None

    def connection(self) -> HTTPConnection:
        """A connection that is opened with its first request."""
        host = urlsplit(self.url).netloc
        if self.tls is not None:
            return HTTPSConnection(host, timeout=_TIMEOUT_S, context=self.tls)
        return HTTPConnection(host, timeout=_TIMEOUT_S)


@dataclass
class Tally:
    """What came back. Times are seconds."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    wrong: int = 0  # masks that are not the right one, of those answered
    failures: Counter[str] = field(default_factory=Counter)  # what else came, by its status or error
    seconds: float = 0.0  # from the first request to the last answer

    @property
    def requests(self) -> int:
        """All that were sent."""
        return len(self.answered) + len(self.refused) + self.failures.total()


class Asker:
    """Sends questions and judges the answers; used by many threads, each with a connection of its own."""

    def __init__(self, endpoint: Endpoint, questions: Sequence[Question]) -> None:
        self._endpoint, self._questions = endpoint, questions
        self._path = urlsplit(endpoint.url).path
        self._right: list[bytes] = [b""] * len(questions)  # the last body of each that held the right mask
        self._tally, self._lock = Tally(), threading.Lock()

    @property
    def tally(self) -> Tally:
        """What has come back so far."""
        return self._tally

    def ask(self, connection: HTTPConnection, number: int, due: float | None = None) -> bool:
        """Send question `number`, counted round; False if the server refused it for its load.

        Args:
            connection: of this thread alone.
            number: which question.
            due: when it was to be sent, by time.perf_counter(); its time counts from there, and from now without.
        """
        place = number % len(self._questions)
        question = self._questions[place]
        headers = {"Content-Type": question.content_type}
        if self._endpoint.key is not None:
            headers["X-API-Key"] = self._endpoint.key
        start = time.perf_counter() if due is None else due
        try:
            connection.request("POST", self._path, question.body, headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            with self._lock:
                self._tally.failures[type(error).__name__] += 1
            return True
        taken = time.perf_counter() - start
        right = response.status == HTTPStatus.OK and self._is_right(place, body)
        with self._lock:
            if response.status == HTTPStatus.OK:
                self._tally.answered.append(taken)
                self._tally.wrong += not right
            elif response.status in REFUSALS:
                self._tally.refused.append(taken)
            else:
                self._tally.failures[str(response.status)] += 1
        return response.status not in REFUSALS

    def connection(self) -> HTTPConnection:
        """A connection for one thread."""
        return self._endpoint.connection()

    def _is_right(self, place: int, body: bytes) -> bool:
        """Whether `body` holds the right mask; only bytes that were not seen before have to be decoded."""
        if body == self._right[place]:
            return True
        try:
            found = read_mask(body).indices
        except BadAnswer:
            return False
        if not np.array_equal(found, self._questions[place].mask):
            return False
        self._right[place] = body
        return True


def closed_loop(endpoint: Endpoint, questions: Sequence[Question], clients: int, seconds: float) -> Tally:
    """`clients` that each send their next request once the last is answered, for `seconds`."""
    asker, numbers = Asker(endpoint, questions), itertools.count()
    deadline = time.perf_counter() + seconds

    def one() -> None:
        connection = asker.connection()
        while time.perf_counter() < deadline:
            if not asker.ask(connection, next(numbers)):
                time.sleep(REFUSED_PAUSE_S)
        connection.close()

    return _timed(asker, one, clients)


def open_loop(
    endpoint: Endpoint, questions: Sequence[Question], rate: float, seconds: float, senders: int = 256
) -> Tally:
    """`rate` requests a second for `seconds`, each at its time, however many are still unanswered.

    A request's time counts from when it was due, so one that had to wait for one of the `senders` says so.
    """
    asker, numbers = Asker(endpoint, questions), itertools.count()
    start, count = time.perf_counter(), round(rate * seconds)

    def one() -> None:
        connection = asker.connection()
        while (number := next(numbers)) < count:
            due = start + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            asker.ask(connection, number, due)
        connection.close()

    return _timed(asker, one, min(senders, count))


def _timed(asker: Asker, one: Callable[[], None], count: int) -> Tally:
    """Run `one` in `count` threads to their end."""
    start = time.perf_counter()
    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asker.tally.seconds = time.perf_counter() - start
    return asker.tally
