"""The model's version, which the endpoint's management port tells."""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import quote

import httpx2

from lseg_serve.annotation.label_studio.settings import Settings, origin_of

_SECONDS: Final = 1  # Label Studio waits 3 seconds for the answer that this is a part of
_KEPT_SECONDS: Final = 10
_INFERENCE_PORT, _MANAGEMENT_PORT = 8080, 8081


class Versions:
    """The name and version of one model. Without a management port that answers, the name alone."""

    def __init__(self, settings: Settings) -> None:
        self._model = settings.model
        self._url = _management(settings)
        self._version = ""
        self._until = 0.0

    async def name(self) -> str:
        """The model's name and the version that was heard of last, such as "lseg 1.0"; asked for anew after a while."""
        if self._url is not None and time.monotonic() > self._until:
            self._until = time.monotonic() + _KEPT_SECONDS
            self._version = await self._asked(self._url) or self._version
        return f"{self._model} {self._version}".rstrip()

    async def _asked(self, url: str) -> str | None:
        try:
            async with httpx2.AsyncClient(trust_env=False, timeout=_SECONDS) as client:
                answer = await client.get(url)
                entry = answer.json()[0]
                return str(entry["modelVersion"])[:40]
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, LookupError, TypeError):
            return None


def _management(settings: Settings) -> str | None:
    """Where the model is described: the address that is set, or the port beside 8080; None: not known."""
    base = settings.management_url
    if base is None:
        scheme, host, port = origin_of(settings.url)
        if port != _INFERENCE_PORT:
            return None
        base = f"{scheme}://{f'[{host}]' if ':' in host else host}:{_MANAGEMENT_PORT}"
    return f"{base.rstrip('/')}/models/{quote(settings.model, safe='/')}"
