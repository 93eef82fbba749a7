"""Images of a shard through a `Segmenter`: decoding and encoding beside the network, batches as the device has them.

    keys ──> read, decode ──────> batches of one bucket ──> network, mask, encode ──> outcomes
             threads, each with   as large as the device     two threads, of which     in the shard's order
             a process            has them prepared          the network serves one

Batches are filled in the shard's order, whatever comes first, so that the same shard gives the same batches.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from lseg_serve.batch.decoding import DECODE, Decoder, DecoderKilledError
from lseg_serve.batch.listing import Entry
from lseg_serve.batch.rendering import Renderer
from lseg_serve.batch.results import Outcome
from lseg_serve.segmenter import Bucket, InvalidRequestError, Pixels, Segmenter, SegmenterError, choose_bucket

_FINISHERS = 2
# So many batches' images wait for others of their bucket at most, and so long, before the oldest group goes as it is.
_WAITING_BATCHES = 4
_PATIENCE_BATCHES = 16


@dataclass(frozen=True)
class Given:
    """An image on its way: its place in the shard, and its pixels once it is decoded."""

    index: int
    entry: Entry
    pixels: Pixels


class Pipeline:
    """A segmenter with its decoders, for one shard after the other. Close it in the end."""

    def __init__(
        self,
        segmenter: Segmenter,
        renderer: Renderer,
        read: Callable[[str], bytes],
        decoders: int,
        decode: str = DECODE,
    ) -> None:
        """Decode in `decoders` processes by the function that `decode` names; `read` gives an image's bytes by key."""
        self.segmenter, self.renderer, self._read = segmenter, renderer, read
        self._largest = max(segmenter.shapes.image_batches) if renderer.in_batches else 1
        self._ahead = 2 * decoders + self._largest
        self._decoders: list[Decoder] = []
        self._own = threading.local()
        self._new: Callable[[], Decoder] = lambda: Decoder(segmenter.config.max_image_pixels, decode)
        self._readers = ThreadPoolExecutor(decoders, "decode")
        self._finishers = ThreadPoolExecutor(_FINISHERS, "network")

    def close(self) -> None:
        """End the threads and processes."""
        for pool in (self._readers, self._finishers):
            pool.shutdown(cancel_futures=True)
        for decoder in self._decoders:
            decoder.close()

    def run(self, images: Sequence[tuple[int, Entry]], begun: Callable[[int], None] | None = None) -> Iterator[Outcome]:
        """What becomes of each image, in the given order.

        With `begun`, one image at a time is on its way, and `begun` is told its index first.

        Raises:
            StoreError: the store does not answer, or refuses.
        """
        if begun is not None:
            for index, entry in images:
                begun(index)
                yield from self.run([(index, entry)])
            return
        order = _Order([index for index, _ in images])
        running: deque[Future[list[Outcome]]] = deque()
        try:
            for batch in self._batches(self._decoded(images), order):
                running.append(self._finishers.submit(self._finished, batch))
                if len(running) > _FINISHERS:
                    order.add(running.popleft().result())
                yield from order.ready()
            while running:
                order.add(running.popleft().result())
                yield from order.ready()
            yield from order.ready()
        finally:
            for future in running:
                future.cancel()

    def _decoded(self, images: Sequence[tuple[int, Entry]]) -> Iterator[Given | Outcome]:
        """The images in order, some of them decoded ahead."""
        left = iter(images)
        waiting: deque[Future[Given | Outcome]] = deque()

        def fill() -> None:
            while len(waiting) < self._ahead and (following := next(left, None)) is not None:
                waiting.append(self._readers.submit(self._decode, *following))

        try:
            fill()
            while waiting:
                yield waiting.popleft().result()
                fill()
        finally:
            for future in waiting:
                future.cancel()

    def _decode(self, index: int, entry: Entry) -> Given | Outcome:
        decoder: Decoder | None = getattr(self._own, "decoder", None)
        if decoder is None:
            decoder = self._own.decoder = self._new()
            self._decoders.append(decoder)
        try:
            content = self._read(entry.key)
        except FileNotFoundError:
            return Outcome(index, entry, type="missing", message="it is not there any more")
        if entry.size is not None and len(content) != entry.size:
            words = f"it has {len(content)} bytes, and had {entry.size} when the manifest was made"
            return Outcome(index, entry, type="changed", message=words)
        try:
            return Given(index, entry, decoder.decode(content))
        except SegmenterError as error:
            return Outcome(index, entry, type=error.type, message=error.message)
        except DecoderKilledError as error:
            return Outcome(index, entry, type="killed", message=str(error))

    def _batches(self, decoded: Iterator[Given | Outcome], order: _Order) -> Iterator[list[Given]]:
        """Full batches of one bucket as they come about, and what is left of each bucket in the end."""
        groups: dict[Bucket, list[Given]] = {}
        since: dict[Bucket, int] = {}  # which groups are the oldest, and how old
        for number, one in enumerate(decoded):
            if isinstance(one, Outcome):
                order.add([one])
            else:
                height, width = one.pixels.shape[:2]
                bucket = choose_bucket(self.segmenter.shapes.buckets, height, width)
                groups.setdefault(bucket, []).append(one)
                since.setdefault(bucket, number)
                if len(groups[bucket]) == self._largest:
                    del since[bucket]
                    yield groups.pop(bucket)
            while groups and self._is_due(groups, number - min(since.values())):
                oldest = min(since, key=lambda own: since[own])
                del since[oldest]
                yield groups.pop(oldest)
        yield from groups.values()

    def _is_due(self, groups: Mapping[Bucket, Sequence[Given]], age: int) -> bool:
        """Whether the oldest group goes as it is: too many images wait, or too many results for it."""
        waiting = sum(len(group) for group in groups.values())
        return waiting > _WAITING_BATCHES * self._largest or age > _PATIENCE_BATCHES * self._largest

    def _finished(self, batch: list[Given]) -> list[Outcome]:
        """What becomes of a batch. Where it fails as a whole, its images are tried once more, one by one."""
        found = self._tried(batch)
        return found if isinstance(found, list) else [outcome for one in batch for outcome in self._alone(one)]

    def _alone(self, one: Given) -> list[Outcome]:
        found = self._tried([one])
        if isinstance(found, list):
            return found
        kind, message = found
        return [Outcome(one.index, one.entry, type=kind, message=message)]

    def _tried(self, batch: list[Given]) -> list[Outcome] | tuple[str, str]:
        """The results of a batch, or type and message of an error that belongs to an image.

        What would meet the next image as well is raised.
        """
        try:
            rows = self.renderer.rows([one.pixels for one in batch])
            return [Outcome(one.index, one.entry, row) for one, row in zip(batch, rows, strict=True)]
        except InvalidRequestError as error:
            return error.type, error.message
        except Exception as error:
            if not self.segmenter.device.is_out_of_memory(error):
                raise
        self.segmenter.free_memory()  # not before: the error's traceback holds what the try had allocated
        return "out_of_memory", "the device or the machine has no memory left for it"


@dataclass
class _Order:
    """Outcomes in the order of the shard, as far as all before them are there."""

    left: Sequence[int]  # indices, in order
    _held: dict[int, Outcome] = field(default_factory=dict)
    _next: int = 0

    def add(self, outcomes: Sequence[Outcome]) -> None:
        self._held.update((one.index, one) for one in outcomes)

    def ready(self) -> Iterator[Outcome]:
        while self._next < len(self.left) and self.left[self._next] in self._held:
            yield self._held.pop(self.left[self._next])
            self._next += 1
