"""Requests to an LSeg server over HTTP, and the masks in its responses."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import requests
from PIL import Image

_WORKER_GONE = "Worker died."  # TorchServe's message
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ClientError(RuntimeError):
    """The server refused a request. Holds the status and, if the server sent one, its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
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
            ClientError: the server refused the request.
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

    TorchServe both queues such a request again and responds that its worker died. Which comes first is chance.
    """
    return response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and _WORKER_GONE in response.text


def read_mask(png: bytes) -> Mask:
    """A mask from the bytes of its PNG."""
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        legend = tuple(LegendEntry(**entry) for entry in json.loads(str(image.info["legend"])))
        return Mask(png, np.asarray(image), legend)


def _message(response: requests.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or response.reason
