"""What the management port is asked: how the model describes itself, whether it is ready, which workers it has."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from lseg_serve.client.errors import BadAnswer, BadInput, Refused, TimedOut, Unreachable, refusal
from lseg_serve.client.messages import Operation, Request, Wait, ask
from lseg_serve.client.report import first_finding
from lseg_serve.client.segmenting import Target
from lseg_serve.labelsets import Label, as_json, label_of

_SECONDS = 30  # for what TorchServe answers by itself
_POLL_SECONDS = 0.25
# What is not named here is kept, too: in `model_extra`.
_FROZEN = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class Worker(BaseModel):
    """A process of the model, as TorchServe describes it."""

    model_config = _FROZEN

    id: str
    status: str  # "READY", or "UNLOADING" for every other state
    pid: int


class LabelSet(BaseModel):
    """The labels exported with the model, for requests that name none."""

    model_config = _FROZEN

    name: str | None = None
    labels: tuple[Annotated[Label, BeforeValidator(label_of), PlainSerializer(as_json)], ...] = ()


class Limits(BaseModel):
    """What a request may ask for."""

    model_config = _FROZEN

    max_labels: int
    max_label_length: int
    max_image_pixels: int
    max_response_bytes: int
    max_request_seconds: float


class Description(BaseModel):
    """What the model says of itself."""

    model_config = _FROZEN

    model: str
    version: str
    workers: tuple[Worker, ...]
    device: str
    precision: str | None = None
    buckets: tuple[tuple[int, int], ...]  # height, width
    label_set: LabelSet
    limits: Limits
    request: dict[str, Any] = Field(repr=False)  # JSON Schema of a request


def pinging(target: Target) -> Operation[None]:
    """Ask for a sign of life. Any answer is one.

    Raises:
        Unreachable: nobody answers.
        TimedOut: nobody answers in time.
    """
    limit = min(target.timeout, _SECONDS)
    yield from ask(Request("GET", f"{target.url.rstrip('/')}/ping", limit, headers=target.headers))


def describing(target: Target) -> Operation[Description]:
    """Ask for the description of the model. A worker answers it, after the requests before it.

    Raises:
        BadAnswer: there is none, as where no worker is ready.
    """
    entry = yield from _entry(target, "?customized=true", target.timeout)
    said = entry.get("customizedMetadata")
    if not isinstance(said, dict):
        raise BadAnswer(f"the model {target.model} does not describe itself; it may have no worker that is ready")
    known = {name: entry.get(key) for name, key in (("model", "modelName"), ("version", "modelVersion"))}
    try:
        return Description.model_validate({**said, **known, "workers": entry.get("workers")})
    except ValidationError as error:
        raise BadAnswer(f"the description of {target.model} is not understood: {first_finding(error)}") from error


def listing_workers(target: Target) -> Operation[tuple[Worker, ...]]:
    """Ask TorchServe which workers the model has, at once, also while they load."""
    entry = yield from _entry(target, "", min(target.timeout, _SECONDS))
    try:
        return tuple(Worker.model_validate(worker) for worker in entry.get("workers") or ())
    except (ValidationError, TypeError) as error:
        raise BadAnswer(f"the workers of {target.model} are not understood: {first_finding(error)}") from error


def asking_ready(target: Target) -> Operation[bool]:
    """Whether the model has workers that have all loaded it. It has not where nobody answers or knows it."""
    try:
        workers = yield from listing_workers(target)
    except (Unreachable, TimedOut):
        return False
    except Refused as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return False
        raise
    return bool(workers) and _all_ready(workers)


def scaling(target: Target, workers: int, seconds: float) -> Operation[tuple[Worker, ...]]:
    """Give the model so many workers, and wait until there are as many and all are ready.

    TorchServe is not asked to wait itself: it would hold up requests meanwhile.

    Raises:
        BadInput: `workers` is negative.
        TimedOut: it is not so within `seconds`; TorchServe goes on.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise BadInput(f"workers is {workers}; accepted: a whole number, 0 or more")
    query = urlencode({"min_worker": workers, "max_worker": workers, "synchronous": "false"})
    limit = min(target.timeout, _SECONDS)
    reply = yield from ask(Request("PUT", f"{target.management}?{query}", limit, headers=target.headers))
    if not reply.ok:
        raise refusal(reply)
    deadline = time.monotonic() + seconds
    while True:
        now = yield from listing_workers(target)
        if len(now) == workers and _all_ready(now):
            return now
        if time.monotonic() > deadline:
            ready = sum(worker.status == "READY" for worker in now)
            raise TimedOut(
                f"{target.model} has not {workers} workers after {seconds:g} s, but {len(now)}, of which {ready} are "
                "ready; the server's log has what they do"
            )
        yield Wait(_POLL_SECONDS)


def _all_ready(workers: Sequence[Worker]) -> bool:
    return all(worker.status == "READY" for worker in workers)


def _entry(target: Target, query: str, timeout: float) -> Operation[dict[str, Any]]:
    """What the management API tells of the model: the first of its versions that it lists."""
    reply = yield from ask(Request("GET", f"{target.management}{query}", timeout, headers=target.headers))
    if not reply.ok:
        raise refusal(reply)
    try:
        entries = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"{target.management} answers no JSON: {error}") from error
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        raise BadAnswer(f"{target.management} answers no list of models: {reply.text[:200]}")
    return entries[0]
