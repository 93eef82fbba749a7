"""What can go wrong between a program and a server, as one small tree of errors.

```
ClientError
├── BadInput             cannot be sent: no image, a file or URL that cannot be read, an option that the client refuses
├── Unreachable          nobody listens there, or the connection broke
├── TimedOut             there was no whole answer in time
├── BadAnswer            an answer that is not what was asked for
└── Refused              an answer with an error: status, type, message, field
    ├── NotReady         503: the worker loads its model, or is being replaced
    ├── Overloaded       any other 503: the queue is full, or the model has no worker
    └── WorkerDied       the worker ended while it had the request
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from lseg_serve.client.messages import Reply
from lseg_serve.client.printable import printable

_WORKER_DIED = "Worker died."  # TorchServe's message
_NOT_READY = ("not_ready", "device_lost")  # the handler's types of 503
# What TorchServe answers without a word.
_WITHOUT_BODY: dict[int, str] = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the request is larger than the server accepts (max_request_size of "
    "config.properties)"
}


class ClientError(RuntimeError):
    """A request without the answer that was asked for. Its text can be shown on a terminal."""

    status: int | None = None  # of the answer, if there was one

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class BadInput(ClientError):  # noqa: N818 - the tree reads as what happened
    """What was given cannot be sent. Nothing was asked of the server."""


class Unreachable(ClientError):  # noqa: N818
    """Nobody listens at the address, or the connection broke before the answer was whole."""


class TimedOut(ClientError):  # noqa: N818
    """There was no whole answer within the time-out, or what was waited for did not happen in time."""


class BadAnswer(ClientError):  # noqa: N818
    """The server answered, but not with what was asked for: a proxy's page, or a file that cannot be read."""


class Refused(ClientError):  # noqa: N818
    """The server answered with an error.

    Attributes:
        status: of HTTP.
        type: the handler's or TorchServe's name of the error; empty where the answer names none.
        message: what is wrong, as it came.
        field: the field of the request that is at fault, if the answer names one.
        retry_after: the header of this name; seconds or a date.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: str = "",  # noqa: A002 - the answer's name of it
        field: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(f"{status}: {message}")
        self.status: int = status
        self.type = type
        self.message = message
        self.field = field
        self.retry_after = retry_after


class NotReady(Refused):
    """The worker is still loading its model, or lost its device and is being replaced."""


class Overloaded(Refused):
    """The model's queue is full, or it has no worker."""


class WorkerDied(Refused):
    """The worker ended while it had the request: it was scaled down or killed.

    TorchServe both queues such a request again and responds that its worker died; which comes first is chance. The
    status is 500, or that of the worker's last response before, such as 507. It is 413 where the system killed the
    worker for its memory, and the request would end the next worker as well.
    """


def refusal(reply: Reply) -> Refused:
    """The error that `reply`, whose status is none of success, stands for."""
    error = _error_in(reply)
    status, kind, message = reply.status, _text(error.get("type")), _text(error.get("message"))
    field = error.get("field")
    if not message:
        message = reply.text[:200].strip() or _WITHOUT_BODY.get(status) or reply.reason or "no reason given"
    chosen: type[Refused] = Refused
    if _WORKER_DIED in message:
        chosen = WorkerDied
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        chosen = NotReady if kind in _NOT_READY else Overloaded
    return chosen(status, message, kind, field if isinstance(field, str) else None, reply.headers.get("retry-after"))


def _error_in(reply: Reply) -> Mapping[str, object]:
    """The error as the handler words it ({"error": {...}}) or as TorchServe does (the same without the outer layer)."""
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(document, dict) and isinstance(document.get("error"), dict):
        document = document["error"]
    return document if isinstance(document, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
