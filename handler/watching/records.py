"""What is known of one request, for whoever watches the server: sizes, numbers and times.

No pixel and no text of a label goes in. Of what a client sent as text, only ids are kept that look like ids.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

# An id that a client or a proxy chose: a UUID, a number, a path of names. Anything else is left out.
_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
# W3C Trace Context, as tracing libraries send it.
_TRACE_HEADERS = ("traceparent", "tracestate")


@dataclass(frozen=True)
class Step:
    """A part of a request's way that one span stands for; times in seconds since 1970."""

    name: str
    start: float
    end: float


@dataclass(eq=False)
class Record:
    """One request on its way through the worker. Filled as it goes; what it did not reach stays empty."""

    request_id: str = ""  # TorchServe's, which the response has as X-Request-Id
    client_id: str | None = None  # the X-Request-Id that came with the request
    trace: Mapping[str, str] = field(default_factory=dict)  # its traceparent and tracestate
    batch: int = 1  # requests that came together
    images: int = 1  # in the request that this is of; the limits of one image are shared among them
    start: float = field(default_factory=time.time)  # seconds since 1970: the worker got it
    end: float = 0.0  # the response is made
    steps: list[Step] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # by stage, as in Server-Timing, and response
    format: str | None = None
    mode: str | None = None
    labels: int | None = None
    height: int | None = None
    width: int | None = None
    bucket: str | None = None
    status: int = 0
    error: str | None = None  # the type of the error

    @classmethod
    def of(cls, request_id: str | None, headers: Mapping[str, object], batch: int) -> Record:
        """The record of a request that has just come, with these headers as TorchServe gives them."""
        texts = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
        client_id = texts.get("x-request-id", "")
        return cls(
            request_id=request_id or "",
            client_id=client_id if _ID.fullmatch(client_id) else None,
            trace={name: texts[name] for name in _TRACE_HEADERS if name in texts},
            batch=batch,
        )

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note when the block begins and ends, also where it fails. Of one that is tried again the last counts."""
        start = time.time()
        try:
            yield
        finally:
            self.add_step(name, start)

    def add_step(self, name: str, start: float) -> None:
        """Note a step that began at `start`, in seconds since 1970, and ends now."""
        self.steps = [step for step in self.steps if step.name != name]
        self.steps.append(Step(name, start, time.time()))

    def gather(self, parts: Sequence[Record]) -> None:
        """Take over what is known of the images of this request: the sums of their times, the sizes of the first."""
        first = parts[0]
        self.format, self.mode, self.labels = first.format, first.mode, first.labels
        self.height, self.width, self.bucket = first.height, first.width, first.bucket
        steps: dict[str, Step] = {}
        for part in parts:
            for stage, seconds in part.seconds.items():
                self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
            for step in part.steps:
                known = steps.get(step.name, step)
                steps[step.name] = Step(step.name, min(known.start, step.start), max(known.end, step.end))
        self.steps = list(steps.values())
        self.images = len(parts)

    def finish(self, status: int, error: str | None) -> None:
        """Note the outcome: the HTTP status, and the type of the error if it is one."""
        self.status, self.error, self.end = status, error, time.time()

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON can hold it, without what the request did not reach; times of stages in milliseconds."""
        known = {
            "request_id": self.request_id,
            "client_request_id": self.client_id,
            "status": self.status,
            "error": self.error,
            "milliseconds": round((self.end - self.start) * 1000, 3),
            "stages": {stage: round(seconds * 1000, 3) for stage, seconds in self.seconds.items()},
            "batch": self.batch,
            "images": self.images if self.images > 1 else None,
            "format": self.format,
            "mode": self.mode,
            "labels": self.labels,
            "height": self.height,
            "width": self.width,
            "bucket": self.bucket,
        }
        return {name: value for name, value in known.items() if value is not None}
