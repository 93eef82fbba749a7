"""Mixed requests for as long as wanted, and what they leave: memory, handles and threads of Java and the worker."""

from __future__ import annotations

import itertools
import json
import random
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from lseg_serve.bench.endpoint import worker_processes
from lseg_serve.bench.overload import MODEL, serving
from lseg_serve.bench.scenes import exported
from lseg_serve.bench.setting import jpeg
from lseg_serve.bench.soak_samples import Sample, not_flat
from lseg_serve.client import form
from lseg_serve.demo.cache import FIRST_TEST_SEED
from lseg_serve.demo.scenes import draw_scene
from lseg_serve.demo.trials import NAMES
from lseg_serve.server import LocalServer

_CLIENTS = 4
_SIZES = ((320, 240), (640, 480), (480, 640), (1024, 768), (200, 200))
_SCENES = 40  # more than the feature cache holds at once
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Mixed:
    """One kind of request, and the statuses that answer it rightly."""

    fields: dict[str, str]
    image: bytes | None
    statuses: tuple[int, ...] = (200,)


def measure(folder: Path, minutes: float, every_s: float = 60) -> list[Sample]:
    """`minutes` of mixed requests to the bundled model, with a sample of each process every `every_s` seconds.

    The requests: images of five sizes, known and new; labels known and new; every format, accurate mode, embeddings,
    and requests that are refused. What is not flat is told on stderr.
    """
    archive = exported("float32", folder)
    with serving(archive, folder / "run") as server:
        samples = soak(server, MODEL, _pictures(), 60 * minutes, every_s)
    for fault in not_flat(samples):
        print(fault, file=sys.stderr)
    return samples


def soak(server: LocalServer, model: str, pictures: Sequence[bytes], seconds: float, every_s: float) -> list[Sample]:
    """Send mixed requests with `pictures` by several clients, and watch the server's processes meanwhile.

    Raises:
        RuntimeError: the server or its worker ended.
    """
    url = f"{server.addresses.inference_url}/predictions/{model}"
    clients = [_Client(url, number, pictures) for number in range(_CLIENTS)]
    start = time.monotonic()
    for client in clients:
        client.start()
    try:
        samples = _watched(server, model, clients, start, seconds, every_s)
    finally:
        for client in clients:
            client.stopped.set()
        for client in clients:
            client.join()
    return samples


def _watched(
    server: LocalServer, model: str, clients: Sequence[_Client], start: float, seconds: float, every_s: float
) -> list[Sample]:
    java, first = server.process(), worker_processes(server, model)
    if java is None:
        raise RuntimeError("the server does not run")
    samples: list[Sample] = []
    for number in itertools.count(1):
        due = start + min(number * every_s, seconds)
        time.sleep(max(0.0, due - time.monotonic()))
        minute = (time.monotonic() - start) / 60
        sent, failed = sum(one.sent for one in clients), sum(one.failed for one in clients)
        workers = worker_processes(server, model)
        if server.process() != java or workers != first:
            raise RuntimeError(f"the server or its worker ended within {minute:.1f} minutes")
        samples += [Sample.of(java, "Java", minute, sent, failed)]
        samples += [Sample.of(worker, "worker", minute, sent, failed) for worker in workers]
        print(f"{minute:.1f} min, {sent} requests, {failed} failed: {_line(samples[-2:])}", file=sys.stderr, flush=True)
        if due >= start + seconds:
            break
    return samples


class _Client(threading.Thread):
    """Sends one mixed request after the other until it is stopped."""

    def __init__(self, url: str, number: int, pictures: Sequence[bytes]) -> None:
        super().__init__(name=f"client {number}")
        self.stopped, self.sent, self.failed = threading.Event(), 0, 0
        self._url, self._rng, self._pictures = urlsplit(url), random.Random(number), pictures

    def run(self) -> None:
        connection = HTTPConnection(self._url.netloc, timeout=_TIMEOUT_S)
        while not self.stopped.is_set():
            one = mixed(self._rng, self._pictures)
            body, content_type = form(one.fields, one.image)
            try:
                connection.request("POST", self._url.path, body, {"Content-Type": content_type})
                response = connection.getresponse()
                response.read()
                self.failed += response.status not in one.statuses
            except (OSError, HTTPException):
                connection.close()
                self.failed += 1
            self.sent += 1
        connection.close()


def mixed(rng: random.Random, pictures: Sequence[bytes]) -> Mixed:
    """The next request: most ask for masks, some for all else, some are refused."""
    image = rng.choice(pictures)
    names = rng.sample(NAMES, rng.randint(1, len(NAMES)))
    if rng.random() < 0.2:
        names.append(f"thing {rng.getrandbits(64)}")  # in no cache
    fields = {"labels": json.dumps(names)}
    kind = rng.random()
    if kind < 0.75:
        fields["format"] = rng.choice(("png", "png", "png", "json", "color", "overlay", "npz", "zip"))
        if rng.random() < 0.2:
            fields["threshold"] = "0.4"
        return Mixed(fields, image)
    if kind < 0.80:
        return Mixed({**fields, "mode": "accurate"}, image)
    if kind < 0.90:
        return Mixed({"format": "embeddings", "points": "[[5, 5], [9, 20]]"}, image)
    if kind < 0.95:
        return Mixed(fields, image[: len(image) // 3], (200, 400, 415))
    return Mixed({**fields, "threshold": "7"}, image, (400,))


def _pictures() -> list[bytes]:
    """Drawn scenes as JPEGs."""
    return [jpeg(draw_scene(FIRST_TEST_SEED + number, _SIZES[number % len(_SIZES)]).image) for number in range(_SCENES)]


def _line(samples: Iterable[Sample]) -> str:
    return "; ".join(
        f"{one.process} {one.resident_mb:.0f} MB, {one.handles} handles, {one.threads} threads" for one in samples
    )
