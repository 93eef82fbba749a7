"""Label Studio's tokens: which one goes with a request for a project's files.

A token goes to Label Studio's own host and port alone, and into no log and no message.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

import httpx2

from lseg_serve.annotation.errors import AnnotationError

_MOST_PROJECTS: Final = 1000
_ACCESS_SECONDS: Final = 120  # Label Studio's access tokens hold for 5 minutes
_ANSWER_BYTES: Final = 65_536


class Tokens:
    """The owners' tokens, as `/setup` brings them, or the operator's own in their place."""

    def __init__(self, label_studio: str, api_key: str | None) -> None:
        self._refresh = f"{label_studio.rstrip('/')}/api/token/refresh/"
        self._api_key = api_key
        self._by_project: OrderedDict[str, str] = OrderedDict()
        self._access: tuple[float, str] | None = None  # until when, and what

    def learn(self, project: str, token: str) -> None:
        """Remember a project's token; of very many projects those that were heard of last."""
        self._by_project[project] = token
        self._by_project.move_to_end(project)
        if len(self._by_project) > _MOST_PROJECTS:
            self._by_project.popitem(last=False)

    async def authorization(self, project: str, client: httpx2.AsyncClient) -> str | None:
        """The header `Authorization` for a project's files; None where no token is known.

        A personal access token is exchanged for an access token first, as Label Studio wants it.

        Raises:
            AnnotationError: Label Studio does not exchange it.
        """
        token = self._api_key or self._by_project.get(project)
        if token is None:
            return None
        if token.count(".") != 2:
            return f"Token {token}"
        if self._access is None or self._access[0] < time.monotonic():
            self._access = (time.monotonic() + _ACCESS_SECONDS, await self._exchanged(token, client))
        return f"Bearer {self._access[1]}"

    async def _exchanged(self, token: str, client: httpx2.AsyncClient) -> str:
        try:
            answer = await client.post(self._refresh, json={"refresh": token})
            document = answer.json() if answer.status_code == 200 and len(answer.content) <= _ANSWER_BYTES else None
        except (httpx2.HTTPError, ValueError) as error:
            raise AnnotationError("Label Studio does not answer when its access token is to be renewed") from error
        access = document.get("access") if isinstance(document, dict) else None
        if not isinstance(access, str) or not access.isascii() or any(map(str.isspace, access)):
            raise AnnotationError("Label Studio does not accept the personal access token in LABEL_STUDIO_API_KEY")
        return access
