"""Fetches the images of tasks, within the rules of `addresses.py` and bounds of size and time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from ssl import SSLContext
from typing import Final

import anyio
import httpx2

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.annotation.label_studio.addresses import Addresses, Place
from lseg_serve.annotation.label_studio.settings import Settings
from lseg_serve.annotation.label_studio.tokens import Tokens

_REDIRECTS: Final = 3
_CONNECT_SECONDS: Final = 10
_LOGIN: Final = (
    "Label Studio does not hand out this image without a token that it accepts; allow legacy tokens there, or start "
    "the backend with a personal access token in LABEL_STUDIO_API_KEY"
)


class Images:
    """Fetches the files of one Label Studio and of the hosts that are allowed."""

    def __init__(self, settings: Settings, addresses: Addresses, tokens: Tokens) -> None:
        self._settings = settings
        self._addresses = addresses
        self._tokens = tokens

    async def fetch(self, image: object, task: object, project: str, alias: str | None = None) -> bytes:
        """The bytes of a task's image.

        Every address on the way is checked, and connected to as it was checked: a name that leads elsewhere a moment
        later changes nothing.

        Args:
            image: the value of the task's field, as in `Addresses.url_of`.
            task: its number.
            project: whose token is used.
            alias: another address of Label Studio.

        Raises:
            AnnotationError: it may not be fetched, cannot be, is too large, or takes too long.
        """
        url = self._addresses.url_of(image, task, alias)
        try:
            with anyio.fail_after(self._settings.image_seconds):
                for _ in range(_REDIRECTS + 1):
                    # A resolver may take longer than there is time; it is left behind then.
                    place = await anyio.to_thread.run_sync(self._addresses.place_of, url, abandon_on_cancel=True)
                    found = await self._asked(place, project)
                    if isinstance(found, bytes):
                        return found
                    url = found
        except TimeoutError as error:
            raise AnnotationError(
                f"the image did not come within {self._settings.image_seconds:g} s from {_host(url)}"
            ) from error
        raise AnnotationError(f"the image is behind more than {_REDIRECTS} redirects")

    async def _asked(self, place: Place, project: str) -> bytes | httpx2.URL:
        """The image, or where it is instead. A client of its own: no connection is shared between hosts."""
        limits = httpx2.Timeout(self._settings.image_seconds, connect=_CONNECT_SECONDS)
        async with httpx2.AsyncClient(trust_env=False, follow_redirects=False, verify=_tls(), timeout=limits) as client:
            headers = {"Host": place.url.netloc.decode("ascii"), "Accept": "*/*", "Accept-Encoding": "identity"}
            if place.is_label_studio:
                authorization = await self._tokens.authorization(project, client)
                headers |= {} if authorization is None else {"Authorization": authorization}
            try:
                return await self._answer(client, place, headers)
            except httpx2.HTTPError as error:
                raise AnnotationError(
                    f"the image cannot be fetched from {_host(place.url)}: {_reason(error)}"
                ) from error

    async def _answer(self, client: httpx2.AsyncClient, place: Place, headers: Mapping[str, str]) -> bytes | httpx2.URL:
        most = self._settings.max_image_bytes
        url = place.url.copy_with(host=place.address)
        extensions = {"sni_hostname": place.url.raw_host.decode("ascii")}  # the certificate is that of the name
        async with client.stream("GET", url, headers=headers, extensions=extensions) as answer:
            if answer.is_redirect:
                return self._redirected(place, answer.headers.get("location", ""))
            if place.is_label_studio and answer.status_code in (401, 403):
                raise AnnotationError(_LOGIN)
            if answer.status_code != 200:
                raise AnnotationError(
                    f"the image {place.url.path!r} cannot be fetched: {_host(place.url)} answers {answer.status_code}"
                )
            content = bytearray()
            async for piece in answer.aiter_raw():
                content += piece
                if len(content) > most:
                    raise AnnotationError(f"the image has more than {most} bytes, which is the limit (max_image_bytes)")
            return bytes(content)

    def _redirected(self, place: Place, location: str) -> httpx2.URL:
        try:
            url = place.url.join(location)
        except (httpx2.InvalidURL, ValueError, UnicodeError) as error:
            raise AnnotationError(f"{_host(place.url)} redirects to what is no address") from error
        if place.is_label_studio and url.netloc == place.url.netloc and url.path.startswith("/user/login"):
            raise AnnotationError(_LOGIN)
        return url


@cache
def _tls() -> SSLContext:
    """Made once: it takes 50 ms."""
    return httpx2.create_ssl_context()


def _host(url: httpx2.URL) -> str:
    return url.netloc.decode("ascii", "replace")[:100]


def _reason(error: httpx2.HTTPError) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
