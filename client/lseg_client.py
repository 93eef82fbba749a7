"""Requests to an LSeg server over HTTP, and the masks in its responses."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import requests
from PIL import Image

from lseg_serve.client.printable import printable

_WORKER_GONE = "Worker died."  # TorchServe's message
_UNLABELLED = 255
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ClientError(RuntimeError):
    """The server refused a request, or what it sent is no mask. Holds the status and, if there is one, its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {printable(message)}")
        self.status = status


@dataclass(frozen=True)
class LegendEntry:
    """What a pixel value of a mask means."""

    index: int
    name: str
    color: str  # "#rrggbb"


@dataclass(frozen=True)
class Mask:
    """The mask of a response."""

    png: bytes
    indices: npt.NDArray[np.uint8]  # [H, W], 255 where unlabelled
    legend: tuple[LegendEntry, ...]

    def share(self, entry: LegendEntry) -> float:
        """The share of pixels with this label."""
        return float(np.mean(self.indices == entry.index))


class LSegClient:
    """One model at one server. Holds a pool of connections; each thread needs a client of its own."""

    def __init__(self, url: str = "http://127.0.0.1:8080", model: str = "lseg", timeout: float = 600) -> None:
        self._url = f"{url.rstrip('/')}/predictions/{model}"
        self._timeout = timeout
        self._session = session_for(url)

    def __enter__(self) -> LSegClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def segment(
        self,
        image: bytes,
        labels: Sequence[str] | None = None,
        *,
        threshold: float = 0.0,
        mode: str | None = None,
    ) -> Mask:
        """The mask of the image file `image`.

        The defaults are the server's: the label set that was exported with the model, and its `mode`, which is fast or
        accurate.

        Raises:
            ClientError: the server refused the request, or what it sent is no mask.
            requests.RequestException: there is no server, or it did not respond in time.
        """
        fields = {"format": "png", "threshold": str(threshold)}
        if labels is not None:
            fields["labels"] = json.dumps(list(labels))
        if mode is not None:
            fields["mode"] = mode
        response = self._post(image, fields)
        if _lost_its_worker(response):
            response = self._post(image, fields)
        if not response.ok:
            raise ClientError(response.status_code, _message(response))
        return read_mask(response.content)

    def _post(self, image: bytes, fields: dict[str, str]) -> requests.Response:
        return self._session.post(self._url, data=fields, files={"image": image}, timeout=self._timeout)


def session_for(url: str) -> requests.Session:
    """A session for requests to `url`. A proxy that the environment names cannot reach this machine's loopback."""
    session = requests.Session()
    session.trust_env = urlsplit(url).hostname not in _LOOPBACK
    return session


def _lost_its_worker(response: requests.Response) -> bool:
    """Whether the worker was scaled down while it had the request. The request is worth a second try then.

    TorchServe both queues such a request again and responds that its worker died. Which comes first is chance. The
    status is 500, or that of the worker's last response before, such as 507. It is 413 where the system killed the
    worker for its memory; the request would end the next worker as well.
    """
    return response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR and _WORKER_GONE in response.text


def read_mask(png: bytes) -> Mask:
    """A mask from the bytes of its PNG.

    Raises:
        ClientError: they are no PNG with one index for each pixel, or its legend cannot be understood.
    """
    try:
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            indices, text = np.asarray(image), image.info.get("legend")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ClientError(HTTPStatus.OK, f"the response is no PNG that can be read: {error}") from error
    if indices.ndim != 2 or indices.dtype != np.uint8:
        raise ClientError(HTTPStatus.OK, "the response is a PNG, but not of one index for each pixel")
    return Mask(png, indices, _legend(text))


def _legend(text: object) -> tuple[LegendEntry, ...]:
    """The legend from the JSON in a PNG's text chunk."""
    if text is None:
        raise ClientError(HTTPStatus.OK, "the mask has no legend")
    try:
        entries = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise ClientError(HTTPStatus.OK, f"the mask's legend is no JSON: {error}") from error
    if not isinstance(entries, list):
        raise ClientError(HTTPStatus.OK, f"the mask's legend is {_shortened(entries)}; expected: a list")
    return tuple(_entry(entry) for entry in entries)


def _entry(entry: object) -> LegendEntry:
    match entry:
        case {"index": int(index), "name": str(name), "color": str(color)} if 0 <= index < _UNLABELLED:
            if not isinstance(index, bool) and re.fullmatch("#[0-9a-f]{6}", color):
                return LegendEntry(index, name, color)
    raise ClientError(
        HTTPStatus.OK,
        f"the mask's legend has the entry {_shortened(entry)}; expected: an index from 0 to {_UNLABELLED - 1}, a name, "
        "and a color such as #00ff00",
    )


def _shortened(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:200]


def _message(response: requests.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or response.reason
