"""Both clients of the project by one call, so that a test holds for each."""

from __future__ import annotations

import asyncio
from typing import Any

from lseg_serve.client import AsyncLSegClient, LSegClient

KINDS = ("threads", "asyncio")


def called(kind: str, method: str, url: str, *given: Any, client: dict[str, Any] | None = None, **named: Any) -> Any:
    """What `method` of a fresh client at `url` returns. `client` holds further arguments of the client itself."""
    if kind == "threads":
        with LSegClient(url, **(client or {})) as one:
            return getattr(one, method)(*given, **named)

    async def call() -> Any:
        async with AsyncLSegClient(url, **(client or {})) as one:
            return await getattr(one, method)(*given, **named)

    return asyncio.run(call())
