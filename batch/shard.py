"""One shard from its manifest to its two tables, by a worker that holds the model for any number of shards."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lseg_serve.batch.attempts import Attempt
from lseg_serve.batch.decoding import DECODE, prepare
from lseg_serve.batch.listing import Entry
from lseg_serve.batch.manifest import Manifest
from lseg_serve.batch.options import Options, digest_of
from lseg_serve.batch.output import Output
from lseg_serve.batch.pipeline import Pipeline
from lseg_serve.batch.rendering import Renderer
from lseg_serve.batch.results import Outcome, writing
from lseg_serve.batch.source import reader
from lseg_serve.handler.formats.colors import legend
from lseg_serve.handler.process.threads import usable_cores
from lseg_serve.segmenter import Segmenter

_KILLED = "the process ended twice while this image was on its way, the second time with no other"


@dataclass(frozen=True)
class Spec:
    """A run: what each of its workers has to know, on whichever machine."""

    manifest: str
    output: str
    model: str
    options: Options = field(default_factory=Options)
    decoders: int = 0  # processes; 0: as many as suit this machine
    decode: str = DECODE


@dataclass(frozen=True)
class Done:
    """What became of a shard."""

    shard: int
    ok: int
    failed: int
    computed: int  # of them in this run; others were there before
    seconds: float
    network_seconds: float  # that the network was at work
    device: str

    def document(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {**asdict(self), "seconds": round(self.seconds, 3), "network_seconds": round(self.network_seconds, 3)}


class Worker:
    """A model on its device with its decoders, for shards of one run. Close it in the end."""

    def __init__(self, spec: Spec) -> None:
        """Load the model, and take the output for it.

        Raises:
            BatchError: manifest, model, options or output cannot be used.
            InvalidLabelsError, InvalidOptionError: labels or template cannot be used.
            ArchiveError, CheckpointError, ConfigError, DeviceError: as `Segmenter.load`.
            StoreError: a store does not answer, or refuses.
        """
        options = spec.options.checked()
        prepare()
        self.manifest, self.output = Manifest(spec.manifest), Output(spec.output)
        model = {"name": Path(spec.model).name, "sha256": digest_of(spec.model)}
        self.segmenter = Segmenter.load(spec.model, keep_features=False)
        about = self.manifest.about
        self.identity = {
            "manifest": {**asdict(about), "url": spec.manifest},
            "model": model,
            "options": options.of(self.segmenter),
        }
        self._renderer = Renderer(self.segmenter, options)
        self.output.claim(self.identity)
        if self.segmenter.device.prepares_each_shape:
            self.segmenter.warm_up()
        self._kind = options.format
        self._pipeline = Pipeline(
            self.segmenter, self._renderer, reader(about), spec.decoders or default_decoders(), spec.decode
        )

    def close(self) -> None:
        """End its threads and processes."""
        self._pipeline.close()

    def run(self, shard: int) -> Done | None:
        """Make the tables of a shard; None where they are there. What there is of a former run is taken over.

        Raises:
            BatchError: there is no such shard, or too many processes were killed over it.
            StoreError: a store does not answer or refuses, or the disk is full.
        """
        if self.output.is_done(shard):
            return None
        entries = self.manifest.shard(shard)
        store, start, busy = self.output.store, time.monotonic(), self.segmenter.network.usage.seconds
        store.sweep(self.output.masks(shard))
        store.sweep(self.output.status(shard))
        with (
            Attempt(store, shard) as attempt,
            store.written(self.output.status(shard)) as status,
            store.written(self.output.masks(shard)) as masks,
            writing(masks, status, self._kind, self._about()) as writer,
        ):
            computed = 0
            for outcome, is_new in self._outcomes(shard, entries, attempt):
                writer.add(outcome)
                computed += is_new
            writer.finish()
        done = Done(
            shard,
            writer.counts["ok"],
            writer.counts["failed"],
            computed,
            time.monotonic() - start,
            self.segmenter.network.usage.seconds - busy,
            self.segmenter.device.name,
        )
        told = {**done.document(), "ended": round(time.time(), 3), "host": socket.gethostname(), "process": os.getpid()}
        store.write(self.output.progress(shard), json.dumps(told).encode())
        attempt.forget()
        return done

    def _about(self) -> Mapping[str, Any]:
        """The metadata of a table of results."""
        labels = self.identity["options"]["labels"]
        plan = {"plan": self.manifest.about.plan}
        return {
            "manifest": plan,
            "model": self.identity["model"],
            "options": self.identity["options"],
            "legend": legend(labels),
        }

    def _outcomes(self, shard: int, entries: Sequence[Entry], attempt: Attempt) -> Iterator[tuple[Outcome, bool]]:
        """The outcome of each image in order, and whether it was computed now."""
        known = self.output.results(shard)
        kept = next(known, None)
        indices = {row["index"] for row in self.output.results(shard, ["index"])}
        left = [(i, one) for i, one in enumerate(entries) if i not in indices and i not in attempt.killers]
        fresh = self._pipeline.run(left, attempt.begun if attempt.is_careful else None)
        for index, entry in enumerate(entries):
            if kept is not None and kept["index"] == index:
                row = {name: value for name, value in kept.items() if name not in ("index", "key", "size", "etag")}
                yield Outcome(index, entry, row), False
                kept = next(known, None)
            elif index in attempt.killers:
                yield Outcome(index, entry, type="killed", message=_KILLED), False
            else:
                yield next(fresh), True


def default_decoders() -> int:
    """Processes for decoding: half the cores that this process may use, 1 to 16."""
    return min(16, max(1, usable_cores() // 2))
