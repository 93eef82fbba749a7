"""The client for programs with asyncio. `lseg_client.py` explains what each method does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import Unpack

from lseg_serve.client.answers import Answer, Document, Parts, Picture, Scores
from lseg_serve.client.embedding import EmbedFields, embedding, embedding_labels, embedding_points
from lseg_serve.client.errors import BadInput, ClientError
from lseg_serve.client.images import ImageInput
from lseg_serve.client.lseg_client import checked_concurrency
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
from lseg_serve.client.transport import AsyncTransport
from lseg_serve.embeddings import Embeddings
from lseg_serve.embeddings.embeddings import Encode

T = TypeVar("T")


class AsyncLSegClient:
    """One model at one server, in one event loop; close it, or use it in an `async with` statement.

    Images are written and answers read in threads, so that the loop goes on meanwhile.
    """

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
        """Make a client; the arguments are those of `LSegClient`."""
        self._target = Target(
            url, model, management_url, timeout, retries or Retries(), max_image_bytes, dict(headers or {})
        )
        self._slots = asyncio.BoundedSemaphore(checked_concurrency(max_concurrency))
        self._transport = AsyncTransport()

    async def __aenter__(self) -> AsyncLSegClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    @overload
    async def segment(
        self, image: ImageInput, labels: Labels = None, *, format: Literal["png"] = "png", **options: Unpack[Options]
    ) -> Mask: ...

    @overload
    async def segment(
        self,
        image: ImageInput,
        labels: Labels = None,
        *,
        format: Literal["color", "overlay"],
        **options: Unpack[Options],
    ) -> Picture: ...

    @overload
    async def segment(
        self, image: ImageInput, labels: Labels = None, *, format: Literal["json"], **options: Unpack[Options]
    ) -> Report: ...

    @overload
    async def segment(
        self, image: ImageInput, labels: Labels = None, *, format: Literal["npz"], **options: Unpack[Options]
    ) -> Scores: ...

    @overload
    async def segment(
        self, image: ImageInput, labels: Labels = None, *, format: Literal["zip"], **options: Unpack[Options]
    ) -> Parts: ...

    @overload
    async def segment(
        self, image: ImageInput, labels: Labels = None, *, format: Literal["coco", "hf"], **options: Unpack[Options]
    ) -> Document: ...

    @overload
    async def segment(
        self, image: ImageInput, labels: Labels = None, *, format: str, **options: Unpack[Options]
    ) -> Answer: ...

    async def segment(
        self,
        image: ImageInput,
        labels: Labels = None,
        *,
        format: str = "png",  # noqa: A002 - the request's name of it
        **options: Unpack[Options],
    ) -> Answer:
        """The segmentation of `image` by `labels`, as `LSegClient.segment` has it."""
        async with self._slots:
            return await self._run(segmenting(self._target, image, labels, format, cast(Mapping[str, object], options)))

    async def embed(self, image: ImageInput, labels: Labels = None, **options: Unpack[EmbedFields]) -> Embeddings:
        """The embeddings of `image`, as `LSegClient.embed` has them.

        Ask them for new texts in a thread, `await asyncio.to_thread(found.segment, ["cat"])`: the server is asked for
        them meanwhile, by this event loop.
        """
        async with self._slots:
            found = await self._run(embedding(self._target, image, labels, cast(Mapping[str, object], options)))
        return found.with_encode(self._encoder(asyncio.get_running_loop(), options.get("template")))

    async def embed_points(self, image: ImageInput, points: object, **options: Unpack[EmbedFields]) -> npt.NDArray[Any]:
        """The embeddings at `points` of `image`, as `LSegClient.embed_points` has them."""
        async with self._slots:
            return await self._run(embedding_points(self._target, image, points, cast(Mapping[str, object], options)))

    async def embed_labels(
        self, labels: Labels, template: str | Sequence[str] | None = None
    ) -> npt.NDArray[np.float32]:
        """The unit embeddings of `labels`, as `LSegClient.embed_labels` has them."""
        async with self._slots:
            return await self._run(embedding_labels(self._target, labels, template))

    async def ping(self) -> None:
        """Return if a server answers at all, as `LSegClient.ping` does."""
        await self._run(pinging(self._target))

    async def describe(self) -> Description:
        """What the model says of itself, as `LSegClient.describe` has it."""
        return await self._run(describing(self._target))

    async def workers(self) -> tuple[Worker, ...]:
        """The workers of the model, as `LSegClient.workers` has them."""
        return await self._run(listing_workers(self._target))

    async def ready(self) -> bool:
        """Whether the model has workers that have all loaded it, as `LSegClient.ready` has it."""
        return await self._run(asking_ready(self._target))

    async def scale(self, workers: int, *, seconds: float = 600) -> tuple[Worker, ...]:
        """Give the model so many workers, as `LSegClient.scale` does."""
        return await self._run(scaling(self._target, workers, seconds))

    def _encoder(self, loop: asyncio.AbstractEventLoop, template: str | Sequence[str] | None) -> Encode:
        """Encodes texts for a thread beside `loop`, by a request that `loop` sends."""

        def encode(labels: Sequence[str]) -> npt.NDArray[np.float32]:
            try:
                inside = asyncio.get_running_loop() is loop
            except RuntimeError:  # no loop in this thread
                inside = False
            if inside:
                raise BadInput(
                    "new texts would stop the event loop that asks the server for them; accepted: in a thread, "
                    "`await asyncio.to_thread(found.segment, labels)`, or the result of `await client.embed_labels`"
                )
            return asyncio.run_coroutine_threadsafe(self.embed_labels(labels, template), loop).result()

        return encode

    async def _run(self, operation: Operation[T]) -> T:
        outcome: Reply | Exception | None = None
        while True:
            step = await asyncio.to_thread(advance, operation, outcome)
            if isinstance(step, Done):
                return cast(T, step.result)
            outcome = None
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                continue
            try:
                outcome = await self._transport.send(step)
            except ClientError as error:
                outcome = error
