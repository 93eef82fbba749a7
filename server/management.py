"""What the management port tells of a model."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from lseg_serve.client import ClientError, LSegClient, TimedOut, Unreachable
from lseg_serve.server.errors import ServerError

_SECONDS = 30


@dataclass(frozen=True)
class Model:
    """A model as the management API describes it."""

    registered: bool
    workers: tuple[dict[str, Any], ...] = ()

    @property
    def ready(self) -> bool:
        """Whether it has workers and all of them have loaded it. The API calls every other state "UNLOADING"."""
        return bool(self.workers) and all(worker["status"] == "READY" for worker in self.workers)


def describe(url: str, model: str, seconds: float = _SECONDS) -> Model | None:
    """What the management API at `url` tells of `model`; None where no answer comes within `seconds`.

    TorchServe opens its ports once it has registered all its models, so a model that it does not know then was refused.

    Raises:
        ServerError: the API refuses to tell.
    """
    with LSegClient(model=model, timeout=seconds, management_url=url) as client:
        try:
            workers = client.workers()
        except (Unreachable, TimedOut):
            return None
        except ClientError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return Model(registered=False)
            raise ServerError(
                f"the management port {url} does not tell whether {model} is ready: {error}; "
                "accepted: a server without tokens (disable_token_authorization=true)"
            ) from error
    return Model(registered=True, workers=tuple(worker.model_dump() for worker in workers))
