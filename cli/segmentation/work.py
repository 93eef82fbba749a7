"""The work of `lseg segment`: several images at a time, a server that may be away for a while, whole files only."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from lseg_serve.cli.files import write_whole
from lseg_serve.cli.manners import Status, note
from lseg_serve.cli.segmentation.inputs import Source
from lseg_serve.cli.segmentation.record import Record, state_of
from lseg_serve.client import (
    Answer,
    ClientError,
    Document,
    LSegClient,
    Mask,
    NotReady,
    Overloaded,
    Parts,
    Picture,
    Refused,
    Report,
    Retries,
    Scores,
    Unreachable,
)
from lseg_serve.embeddings import Embeddings

_AWAY = (NotReady, Overloaded, Unreachable)
# The client's own tries, which a stop has to wait for, are kept short; `Asking` goes on after them.
_SHORT = Retries(attempts=4, first_wait=0.5, longest_wait=2, total=5)
_PAUSE = 1.0  # seconds
EMBEDDINGS = "embeddings"
_NPZ, _PNG, _JSON = ".npz", ".png", ".json"
SUFFIXES = {
    "png": _PNG,
    "color": _PNG,
    "overlay": _PNG,
    "json": _JSON,
    "npz": _NPZ,
    "zip": ".zip",
    "hf": _JSON,
    "coco": _JSON,
    EMBEDDINGS: _NPZ,
}
Result: TypeAlias = Answer | Embeddings


class Stopped(Exception):  # noqa: N818 - no error: someone asked for it
    """The work is to end, and this image was not begun or not answered."""


@dataclass(frozen=True)
class Asking:
    """How each image is asked for."""

    url: str
    model: str
    timeout: float  # seconds for one answer
    patience: float  # seconds that the server may be away
    labels: Sequence[Any] | None  # as JSON holds them
    format: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def client(self, jobs: int) -> LSegClient:
        """A client for `jobs` requests at once."""
        return LSegClient(self.url, self.model, self.timeout, retries=_SHORT, max_concurrency=jobs)

    def once(self, client: LSegClient, image: bytes) -> Result:
        """Ask by `client`.

        Raises:
            ClientError: the server refuses the image, or is away.
        """
        if self.format == EMBEDDINGS:
            return client.embed(image, self.labels, **self.options)
        return client.segment(image, self.labels, format=self.format, **self.options)

    def answer(self, client: LSegClient, image: bytes, stop: threading.Event) -> Result:
        """Ask until there is an answer, while the server is away for no longer than `patience`.

        Raises:
            ClientError: the server refuses the image, or is away for longer.
            Stopped: `stop` was set meanwhile.
        """
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return self.once(client, image)
            except _AWAY:
                if time.monotonic() > deadline:
                    raise
                if stop.wait(_PAUSE):
                    raise Stopped from None


@dataclass
class Outcome:
    """What became of an image; one line of the output."""

    source: Source
    status: str  # "done", "skipped" or "failed"
    output: Path | None = None
    answer: Result | None = None
    seconds: float = 0.0
    error: Exception | None = None
    state: list[int] | None = None

    @property
    def ends_all(self) -> bool:
        """Whether the next image would fail as well: the server is away, or refuses what all images have in common."""
        if isinstance(self.error, Refused) and not isinstance(self.error, _AWAY):
            return self.error.status == HTTPStatus.NOT_FOUND or self.error.field not in (None, "image")
        return isinstance(self.error, _AWAY)

    def document(self) -> dict[str, Any]:
        """The line."""
        line: dict[str, Any] = {"image": self.source.shown, "status": self.status}
        if self.output is not None:
            line["output"] = str(self.output)
        if self.answer is not None:
            line |= {"milliseconds": round(self.seconds * 1000), **_described(self.answer)}
        if self.error is not None:
            line["error"] = {"message": str(self.error)}
            if isinstance(self.error, Refused):
                line["error"] |= {"code": self.error.status, "type": self.error.type, "field": self.error.field}
        return line


def bytes_of(answer: Result) -> bytes:
    """The file that the server sent; of embeddings, one with the same numbers."""
    match answer:
        case Embeddings():
            return answer.packed()
        case Mask() | Picture():
            return answer.png
        case Scores():
            return answer.npz
        case Parts():
            return answer.zip
        case Report() | Document():
            return answer.body


def work(sources: Sequence[Source], asking: Asking, record: Record, jobs: int) -> Iterator[Outcome]:
    """Segment each of `sources` that is not done, `jobs` at a time, and yield what became of it, as it comes.

    It ends early where the server stays away, or refuses what all requests have in common. After an interrupt, the
    requests under way are finished and kept; a second one leaves them.

    Raises:
        KeyboardInterrupt: as it came, once those requests are done.
        OSError: a result cannot be written.
    """
    stop = threading.Event()
    left = iter(sources)
    running: set[Future[Outcome]] = set()
    with asking.client(jobs) as client, ThreadPoolExecutor(jobs) as pool:

        def begin() -> None:
            for source in left:
                running.add(pool.submit(_segmented, source, client, asking, record, stop))
                return

        def finished() -> Iterator[Outcome]:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                running.discard(future)
                with contextlib.suppress(Stopped):
                    outcome = future.result()
                    if outcome.status == "done":
                        record.add(outcome.source, outcome.state)
                    yield outcome

        try:
            for _ in range(jobs):
                begin()
            while running:
                for outcome in finished():
                    yield outcome
                    if outcome.ends_all:
                        stop.set()
                    elif not stop.is_set():
                        begin()
        except KeyboardInterrupt:
            stop.set()
            with _second_interrupt_leaves(len(running)):
                while running:
                    yield from finished()
            raise
        finally:
            stop.set()


@contextlib.contextmanager
def _second_interrupt_leaves(count: int) -> Iterator[None]:
    """End the process at the next interrupt: threads that wait for an answer would hold it up. Nothing is lost."""
    note(f"finishing {count} requests that are under way; interrupt again to leave them")
    try:
        yield
    except KeyboardInterrupt:
        sys.stdout.flush()
        os._exit(Status.INTERRUPTED)


def _segmented(source: Source, client: LSegClient, asking: Asking, record: Record, stop: threading.Event) -> Outcome:
    output = record.output_of(source)
    if stop.is_set():
        raise Stopped
    start = time.perf_counter()
    state = state_of(source)
    try:
        image = read(source)
    except OSError as error:
        return Outcome(source, "failed", error=error)
    try:
        answer = asking.answer(client, image, stop)
    except ClientError as error:
        return Outcome(source, "failed", error=error)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, bytes_of(answer))
    return Outcome(source, "done", output, answer, time.perf_counter() - start, state=state)


def read(source: Source) -> bytes:
    """The bytes of an image file.

    Raises:
        OSError: it cannot be read.
    """
    return sys.stdin.buffer.read() if source.path is None else source.path.read_bytes()


def _described(answer: Result) -> dict[str, Any]:
    """Size in pixels, device, and the share of each label, as far as an answer tells."""
    if isinstance(answer, Embeddings):
        return {"width": answer.width, "height": answer.height}
    line: dict[str, Any] = {"device": answer.device} if answer.device else {}
    if isinstance(answer, Document):
        return line | _described_coco(answer.content)
    mask = answer.mask if isinstance(answer, Parts | Report) else answer
    if isinstance(mask, Mask):
        height, width = mask.indices.shape
        counts = np.bincount(mask.indices.ravel(), minlength=256)
        shares = {entry.name: round(float(counts[entry.index] / mask.indices.size), 6) for entry in mask.legend}
        line |= {"width": width, "height": height, "shares": shares}
    return line


def _described_coco(content: Any) -> dict[str, Any]:
    """The same of a COCO document; nothing of an answer of another kind."""
    if not isinstance(content, dict):
        return {}
    image = content["images"][0]
    shares = {one["id"]: 0.0 for one in content["categories"]}
    for one in content["annotations"]:
        shares[one["category_id"]] += one["area"] / (image["width"] * image["height"])
    names = {one["id"]: one["name"] for one in content["categories"]}
    found = {names[number]: round(share, 6) for number, share in shares.items()}
    return {"width": image["width"], "height": image["height"], "shares": found}
