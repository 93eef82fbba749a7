"""What a TorchServe's management port tells of its models, reduced to what a page needs."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import httpx2

from lseg_serve.labelsets import label_of, words_of
from lseg_serve.web.answers import Model, ModelDescription, State
from lseg_serve.web.settings import Endpoint

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SECONDS: Final = 5.0
_MOST_MODELS: Final = 50


class Describer:
    """Asks one management port. A description is kept until the workers of its model are others."""

    def __init__(self, endpoint: Endpoint, client: httpx2.AsyncClient, max_request_bytes: int) -> None:
        self._endpoint = endpoint
        self._client = client
        self._max_request_bytes = max_request_bytes
        self._kept: dict[str, tuple[frozenset[str], str | None, ModelDescription]] = {}

    async def models(self, *, prefixed: bool) -> list[Model]:
        """All models of the server; where it does not answer, the one that would be there by its usual name, away.

        Args:
            prefixed: whether the server's name is a part of the models' ids.
        """
        listed = await self._ask("/models", {"limit": str(_MOST_MODELS)})
        entries = listed.get("models", []) if isinstance(listed, dict) else []
        names = [str(entry["modelName"]) for entry in entries if isinstance(entry, dict) and "modelName" in entry]
        names = [name for name in names if MODEL_NAME.fullmatch(name)] or sorted(self._kept) or ["lseg"]
        return [await self._model(name, prefixed=prefixed) for name in names]

    async def state(self, model: str) -> State:
        """What the workers of `model` do now."""
        return _state(await self._workers(model))

    async def _model(self, name: str, *, prefixed: bool) -> Model:
        workers = await self._workers(name)
        state = _state(workers)
        described: tuple[str | None, ModelDescription | None] = (None, None)
        if state == "ready" and workers is not None:
            described = await self._description(name, workers)
        elif state == "away" and name in self._kept:
            described = self._kept[name][1:]
        identity = f"{self._endpoint.name}/{name}" if prefixed else name
        device, description = described
        return Model(
            id=identity, server=self._endpoint.name, model=name, state=state, device=device, description=description
        )

    async def _workers(self, model: str) -> list[dict[str, Any]] | None:
        """The workers of `model`; None where nobody tells."""
        versions = await self._ask(f"/models/{model}", {})
        if not isinstance(versions, list) or not versions or not isinstance(versions[0], dict):
            return None
        workers = versions[0].get("workers")
        return [one for one in workers if isinstance(one, dict)] if isinstance(workers, list) else None

    async def _description(
        self, model: str, workers: list[dict[str, Any]]
    ) -> tuple[str | None, ModelDescription | None]:
        """Device and description. A worker tells them in its turn, so a busy one may not tell them now."""
        running = frozenset(f"{one.get('id')} {one.get('pid')} {one.get('startTime')}" for one in workers)
        kept = self._kept.get(model)
        if kept is not None and kept[0] == running:
            return kept[1:]
        versions = await self._ask(f"/models/{model}", {"customized": "true"})
        try:
            metadata = versions[0]["customizedMetadata"]
            metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
            device, description = metadata["device"], reduced(metadata, self._max_request_bytes)
        except (LookupError, TypeError, ValueError):  # pydantic's ValidationError is a ValueError
            return (None, None) if kept is None else kept[1:]
        self._kept[model] = (running, device, description)
        return device, description

    async def _ask(self, path: str, query: dict[str, str]) -> Any:
        """The JSON of an answer with 200; None for all else."""
        try:
            answer = await self._client.get(f"{self._endpoint.management}{path}", params=query, timeout=_SECONDS)
            return answer.json() if answer.status_code == 200 else None
        except (httpx2.HTTPError, ValueError):
            return None


def reduced(metadata: dict[str, Any], max_request_bytes: int) -> ModelDescription:
    """Of what a model says of itself (`handler/description.py`), what a page needs.

    Raises:
        LookupError, TypeError, ValueError: it is not what a model of this project says.
    """
    request = metadata["request"]["properties"]
    return ModelDescription(
        architecture=metadata["architecture"],
        precision=metadata["precision"],
        label_set=[" | ".join(words_of(label_of(label))) for label in metadata["label_set"]["labels"]],
        limits={**metadata["limits"], "max_request_bytes": max_request_bytes},
        formats=request["format"]["enum"],
        modes=request["mode"]["enum"],
        default_mode=request["mode"]["default"],
        hash=metadata["checkpoint_sha256"],
    )


def _state(workers: list[dict[str, Any]] | None) -> State:
    if workers is None:
        return "away"
    if not workers:
        return "no_worker"
    return "ready" if any(one.get("status") == "READY" for one in workers) else "warming"
