"""Requests to an LSeg server over HTTP, and the masks it answers with."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import numpy as np
import numpy.typing as npt
import requests
from PIL import Image

_WORKER_GONE = "Worker died."  # TorchServe's words


class ClientError(RuntimeError):
    """The server refused a request; carries its status and, where it sent one, its own message."""

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
    """A mask as it was answered."""

    png: bytes
    indices: npt.NDArray[np.uint8]  # [H, W], 255 where unlabelled
    legend: tuple[LegendEntry, ...]

    def share(self, entry: LegendEntry) -> float:
        """The share of pixels with this label."""
        return float(np.mean(self.indices == entry.index))


class LSegClient:
    """One server, one model. Holds a connection pool; not for use from several threads at once."""

    def __init__(self, url: str = "http://127.0.0.1:8080", model: str = "lseg", timeout: float = 600) -> None:
        self._url = f"{url.rstrip('/')}/predictions/{model}"
        self._timeout = timeout
        self._session = requests.Session()

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

        Without `labels`, of the label set exported with the model; without `mode` (fast or accurate), in the server's.

        Raises:
            ClientError: the server refused the request.
            requests.RequestException: there is no server, or it did not answer in time.
        """
        fields = {"format": "png", "threshold": str(threshold)}
        if labels is not None:
            fields["labels"] = json.dumps(list(labels))
        if mode is not None:
            fields["mode"] = mode
        answer = self._ask(image, fields)
        if not answer.ok:
            raise ClientError(answer.status_code, _message(answer))
        return read_mask(answer.content)

    def _ask(self, image: bytes, fields: dict[str, str]) -> requests.Response:
        """Send a request, and once more where TorchServe took its worker away: scaling down may end it with a 500.

        TorchServe both queues such a request anew and answers that its worker died; which comes first is chance.
        """
        for last in (False, True):
            answer = self._session.post(self._url, data=fields, files={"image": image}, timeout=self._timeout)
            if last or answer.status_code != HTTPStatus.INTERNAL_SERVER_ERROR or _WORKER_GONE not in answer.text:
                break
        return answer


def read_mask(png: bytes) -> Mask:
    """A mask from the bytes of its PNG."""
    with Image.open(io.BytesIO(png)) as picture:
        picture.load()
        legend = tuple(LegendEntry(**entry) for entry in json.loads(str(picture.info["legend"])))
        return Mask(png, np.asarray(picture), legend)


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200] or answer.reason
