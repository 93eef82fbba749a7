"""Whether models are ready, as the management port of a TorchServe tells; asked once a second at most."""

from __future__ import annotations

import time
from typing import Any, Final

import anyio
import httpx2

_SECONDS: Final = 3.0
_KEPT_SECONDS: Final = 1.0


class Models:
    """The models that are public. Holds connections to the management port, to be closed by `close`."""

    def __init__(self, management_url: str, names: tuple[str, ...]) -> None:
        """Ask nothing yet.

        Args:
            management_url: such as http://127.0.0.1:8081.
            names: of the models that others may know of.
        """
        self.names = names
        self._url = management_url.rstrip("/")
        self._client = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=_SECONDS)
        self._locks = {name: anyio.Lock() for name in names}
        self._known: dict[str, tuple[float, tuple[str, ...] | None]] = {}

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def ready(self) -> bool:
        """Whether all models can answer."""
        for name in self.names:
            if not await self.versions(name):
                return False
        return True

    async def versions(self, name: str) -> tuple[str, ...] | None:
        """The versions of `name` that can answer, so none while it loads; None where there is no such public model."""
        if name not in self._locks:
            return None
        async with self._locks[name]:  # of many who ask at once, one asks the server
            known = self._known.get(name)
            if known is None or time.monotonic() - known[0] > _KEPT_SECONDS:
                known = (time.monotonic(), await self._ask(name))
                self._known[name] = known
        return known[1]

    async def _ask(self, name: str) -> tuple[str, ...]:
        try:
            answer = await self._client.get(f"{self._url}/models/{name}/all")
            versions = answer.json() if answer.status_code == 200 else []
        except (httpx2.HTTPError, ValueError):
            return ()
        return tuple(str(one.get("modelVersion")) for one in versions if isinstance(one, dict) and _is_ready(one))


def _is_ready(version: dict[str, Any]) -> bool:
    workers = version.get("workers")
    return isinstance(workers, list) and any(
        isinstance(worker, dict) and worker.get("status") == "READY" for worker in workers
    )
