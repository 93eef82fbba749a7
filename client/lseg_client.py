"""The client for programs with threads, or with none."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import Unpack

from lseg_serve.client.answers import Answer, Document, Parts, Picture, Scores
from lseg_serve.client.embedding import EmbedFields, embedding, embedding_labels, embedding_points
from lseg_serve.client.errors import BadInput, ClientError
from lseg_serve.client.images import ImageInput
from lseg_serve.client.management import (
    Description,
    Worker,
    asking_ready,
    describing,
    listing_workers,
    pinging,
    scaling,
)
from lseg_serve.client.masks import Mask
from lseg_serve.client.messages import Done, Operation, Reply, Wait, advance
from lseg_serve.client.report import Report
from lseg_serve.client.retries import Retries
from lseg_serve.client.segmenting import Labels, Options, Target, segmenting
from lseg_serve.client.transport import Transport
from lseg_serve.embeddings import Embeddings

T = TypeVar("T")


class LSegClient:
    """One model at one server. May be used by several threads at once; close it, or use it in a `with` statement."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        model: str = "lseg",
        timeout: float = 600,
        *,
        management_url: str | None = None,
        retries: Retries | None = None,
        max_concurrency: int = 8,
        max_image_bytes: int = 100_000_000,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: where TorchServe answers predictions.
            model: the model's name, or name/version.
            timeout: seconds for one response, from the sending of the request to the last byte.
            management_url: where TorchServe answers `describe`, `ready`, `workers` and `scale`. Needed for these where
                `url` has another port than 8080; else it is port 8081 of the same host.
            retries: how often a refused request is sent again.
            max_concurrency: calls of `segment` and `embed` that are under way at once; further ones wait.
            max_image_bytes: of an image that is fetched by its URL.
            headers: sent to the server with each request, such as `Authorization`.

        Raises:
            BadInput: one of them is not accepted.
        """
        self._target = Target(
            url, model, management_url, timeout, retries or Retries(), max_image_bytes, dict(headers or {})
        )
        self._slots = threading.BoundedSemaphore(checked_concurrency(max_concurrency))
        self._transport = Transport()

    def __enter__(self) -> LSegClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    @overload
    def segment(
        self, image: ImageInput, labels: Labels = None, *, format: Literal["png"] = "png", **options: Unpack[Options]
    ) -> Mask: ...

    @overload
    def segment(
        self,
        image: ImageInput,
        labels: Labels = None,
        *,
        format: Literal["color", "overlay"],
        **options: Unpack[Options],
    ) -> Picture: ...

    @overload
    def segment(
        self, image: ImageInput, labels: Labels = None, *, format: Literal["json"], **options: Unpack[Options]
    ) -> Report: ...

    @overload
    def segment(
        self, image: ImageInput, labels: Labels = None, *, format: Literal["npz"], **options: Unpack[Options]
    ) -> Scores: ...

    @overload
    def segment(
        self, image: ImageInput, labels: Labels = None, *, format: Literal["zip"], **options: Unpack[Options]
    ) -> Parts: ...

    @overload
    def segment(
        self, image: ImageInput, labels: Labels = None, *, format: Literal["coco", "hf"], **options: Unpack[Options]
    ) -> Document: ...

    @overload
    def segment(
        self, image: ImageInput, labels: Labels = None, *, format: str, **options: Unpack[Options]
    ) -> Answer: ...

    def segment(
        self,
        image: ImageInput,
        labels: Labels = None,
        *,
        format: str = "png",  # noqa: A002 - the request's name of it
        **options: Unpack[Options],
    ) -> Answer:
        """The segmentation of `image` by `labels`.

        Args:
            image: a path, a URL, the bytes of an image file, a Pillow image, or an array; see `images.encoded`.
            labels: distinct texts or groups of texts, or one text that the server splits (docs/requests.md, "Labels");
                None: the label set that was exported with the model.
            format: what is wanted: `png` is a `Mask`, `color` and `overlay` a `Picture`, `json` a `Report`, `npz`
                `Scores`, `zip` `Parts`, and `coco` and `hf` a `Document`.
            options: mode, threshold, template, alpha, geometry, tolerance, parts, bands and range, as docs/requests.md
                has them. What is left out is the server's default.

        Raises:
            BadInput: the image cannot be read, or a value cannot be sent.
            Refused: the server refused the request, also when it was asked again.
            Unreachable: there is no server.
            TimedOut: it did not answer within the time-out.
            BadAnswer: what it sent is not what was asked for.
        """
        with self._slots:
            return self._run(segmenting(self._target, image, labels, format, cast(Mapping[str, object], options)))

    def embed(self, image: ImageInput, labels: Labels = None, **options: Unpack[EmbedFields]) -> Embeddings:
        """The embeddings of `image`, to be asked later for any points and labels.

        They are computed with here, but for new texts: those this client asks the server to encode, without the image.

        Args:
            image: as in `segment`.
            labels: their embeddings come as well; None: none.
            options: mode, template, preset, dtype, scales, flip, base_size, crop_size, bands and range, as
                docs/embeddings.md has them. What is left out is the server's default.

        Raises:
            ClientError: see `segment`.
        """
        with self._slots:
            found = self._run(embedding(self._target, image, labels, cast(Mapping[str, object], options)))
        template = options.get("template")
        return found.with_encode(lambda texts: self.embed_labels(texts, template))

    def embed_points(self, image: ImageInput, points: object, **options: Unpack[EmbedFields]) -> npt.NDArray[Any]:
        """The embeddings at `points` [N, 2] of x and y, in pixels of the upright image: [N, E] of float16 or float32.

        They are of unit length, but for those of a preset.

        Raises:
            ClientError: see `segment`; BadInput where the points are no pairs of numbers.
        """
        with self._slots:
            return self._run(embedding_points(self._target, image, points, cast(Mapping[str, object], options)))

    def embed_labels(self, labels: Labels, template: str | Sequence[str] | None = None) -> npt.NDArray[np.float32]:
        """The unit embeddings of `labels` in `template`, up to as many as a request may have: float32 [K, E].

        Raises:
            ClientError: see `segment`.
        """
        with self._slots:
            return self._run(embedding_labels(self._target, labels, template))

    def ping(self) -> None:
        """Return if a server answers at all. That says nothing of the model: a TorchServe answers while models load.

        Raises:
            Unreachable: nobody answers.
            TimedOut: nobody answers in time.
        """
        self._run(pinging(self._target))

    def describe(self) -> Description:
        """What the model says of itself. A worker answers it, after the requests before it.

        Raises:
            ClientError: see `segment`; BadAnswer also where no worker is ready.
        """
        return self._run(describing(self._target))

    def workers(self) -> tuple[Worker, ...]:
        """The workers of the model, also while they load.

        Raises:
            ClientError: see `segment`; Refused with the status 404 where the model is not registered.
        """
        return self._run(listing_workers(self._target))

    def ready(self) -> bool:
        """Whether the model has workers, and all of them have loaded it; False where nobody answers.

        Raises:
            ClientError: what answers does not tell.
        """
        return self._run(asking_ready(self._target))

    def scale(self, workers: int, *, seconds: float = 600) -> tuple[Worker, ...]:
        """Give the model so many workers, and wait up to `seconds` until all of them are ready.

        Raises:
            ClientError: see `segment`; TimedOut where the workers are not ready in time.
        """
        return self._run(scaling(self._target, workers, seconds))

    def _run(self, operation: Operation[T]) -> T:
        outcome: Reply | Exception | None = None
        while True:
            step = advance(operation, outcome)
            if isinstance(step, Done):
                return cast(T, step.result)
            outcome = None
            if isinstance(step, Wait):
                time.sleep(step.seconds)
                continue
            try:
                outcome = self._transport.send(step)
            except ClientError as error:
                outcome = error


def checked_concurrency(number: int) -> int:
    """`number`, if so many requests can be under way at once.

    Raises:
        BadInput: it is less than 1.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise BadInput(f"max_concurrency is {number}; accepted: a whole number, 1 or more")
    return number
