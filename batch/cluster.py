"""Shards over the machines of a Ray cluster: an actor for each card, or for some cores, and a shard at a time for each.

Plain actors and not Ray Data: the unit of work is a shard with an output of its own, so that what is done follows from
one look at the output. Ray Data would hold a set of all images' ids in memory, name its files at random, and retry an
actor's tasks without end unless told otherwise.

Ray retries nothing here. An actor that is lost is replaced, and its shard put at the end of the line, some times.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions
from ray.util import metrics

from lseg_serve.batch.errors import BatchError
from lseg_serve.batch.shard import Done, Spec, Worker

logger = logging.getLogger(__name__)

_POLL = 1.0  # seconds between two looks at what the cluster has
_START = 600.0  # seconds for the first actor to be ready
_CORES = 2  # of an actor without a card


class ShardActor:
    """A worker in a process of the cluster. Its counts are among Ray's metrics."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._worker: Worker | None = None
        self._images = metrics.Counter("lseg_batch_images", "Images of shards that are done", ("status",))
        self._seconds = metrics.Counter("lseg_batch_seconds", "Seconds of work on shards", ("kind",))

    def ready(self) -> None:
        """Load the model: its errors are those of a task, which reach the driver as they are."""
        self._worker = Worker(self._spec)

    def run(self, shard: int) -> Done | None:
        """As `Worker.run`."""
        assert self._worker is not None
        done = self._worker.run(shard)
        if done is not None:
            for status, count in (("ok", done.ok), ("failed", done.failed)):
                if count:
                    self._images.inc(count, {"status": status})
            for kind, seconds in (("all", done.seconds), ("network", done.network_seconds)):
                if seconds > 0:
                    self._seconds.inc(seconds, {"kind": kind})
        return done


@dataclass
class _Slot:
    """An actor, and what it is at; None: it loads the model."""

    actor: Any
    shard: int | None = None


def run_over_cluster(
    spec: Spec, shards: Sequence[int], address: str, resource: tuple[str, int] | None = None, tries: int = 5
) -> Generator[Done, None, None]:
    """Run `shards` on the cluster at `address` ("auto": the one that is up here, "local": one for this run alone).

    Machines may join and leave meanwhile. `resource` is what an actor has, such as ("HPU", 1).

    Raises:
        BatchError: an actor refuses the run, the cluster has nothing to run it on, or a shard lost `tries` actors.
        StoreError: a store does not answer or refuses, or a disk is full.
    """
    ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    try:
        yield from _Driver(spec, shards, resource, tries).run()
    finally:
        ray.shutdown()


class _Driver:
    """Gives shards to actors. It holds numbers of shards alone, whatever their images."""

    def __init__(self, spec: Spec, shards: Sequence[int], resource: tuple[str, int] | None, tries: int) -> None:
        self._spec, self._tries = spec, tries
        self._resource = resource or _resource_of(ray.cluster_resources())
        self._left = deque(shards)
        self._lost: Counter[int] = Counter()  # actors, by shard
        self._early = 0  # actors that were lost before they were ready, one after the other
        self._slots: dict[Any, _Slot] = {}  # by what is waited for

    def run(self) -> Generator[Done, None, None]:
        deadline = time.monotonic() + _START
        began = False
        try:
            while self._left or any(slot.shard is not None for slot in self._slots.values()):
                self._fill()
                ready, _ = ray.wait(list(self._slots), timeout=_POLL) if self._slots else ([], [])
                for reference in ready:
                    began = True
                    done = self._took(reference)
                    if done is not None:
                        yield done
                if not ready and not self._slots:
                    time.sleep(_POLL)
                if not began and time.monotonic() > deadline:
                    kind, count = self._resource
                    raise BatchError(
                        f"no actor with {kind}={count} was ready within {_START:.0f} s; the cluster has "
                        f"{_words(ray.cluster_resources())}"
                    )
        finally:
            for slot in self._slots.values():
                with contextlib.suppress(Exception):
                    ray.kill(slot.actor)

    def _fill(self) -> None:
        """Start as many actors as the cluster has room for and shards are left for."""
        kind, count = self._resource
        room = int(ray.cluster_resources().get(kind, 0)) // count
        starting = sum(slot.shard is None for slot in self._slots.values())
        for _ in range(min(room - len(self._slots), len(self._left) - starting)):
            options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0}
            if kind == "CPU":
                options["num_cpus"] = count
            elif kind == "GPU":
                options["num_gpus"] = count
            else:
                options["resources"] = {kind: count}
            actor = ray.remote(ShardActor).options(**options).remote(self._spec)
            self._slots[actor.ready.remote()] = _Slot(actor)

    def _took(self, reference: Any) -> Done | None:
        """What has come of a slot; it gets the next shard, if there is one."""
        slot = self._slots.pop(reference)
        done: Done | None = None
        try:
            result = ray.get(reference)
            done = result if slot.shard is not None else None
        except (exceptions.RayActorError, exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
            self._was_lost(slot, error)
            return None
        except exceptions.RayTaskError as error:  # the worker's own error
            raise error.cause if isinstance(error.cause, Exception) else error from error
        self._early = 0
        if self._left:
            shard = self._left.popleft()
            self._slots[slot.actor.run.remote(shard)] = _Slot(slot.actor, shard)
        else:
            ray.kill(slot.actor)
        return done

    def _was_lost(self, slot: _Slot, error: Exception) -> None:
        with contextlib.suppress(Exception):
            ray.kill(slot.actor)
        reason = str(error).strip().splitlines()[0][:200]
        if slot.shard is None:
            self._early += 1
            if self._early > self._tries:
                raise BatchError(f"{self._early} actors in a row were lost before the model was loaded: {error}")
            logger.warning("an actor was lost while it loaded the model: %s", reason)
            return
        self._lost[slot.shard] += 1
        count = self._lost[slot.shard]
        logger.warning("shard %d lost its actor, %d of %d times: %s", slot.shard, count, self._tries, reason)
        if count >= self._tries:
            raise BatchError(f"shard {slot.shard} lost {self._tries} actors, the last by: {reason}")
        self._left.append(slot.shard)


def _resource_of(resources: dict[str, float]) -> tuple[str, int]:
    """A card for each actor where the cluster has any, else some cores."""
    for kind in ("HPU", "GPU"):
        if resources.get(kind, 0) >= 1:
            return kind, 1
    return "CPU", max(1, min(_CORES, int(resources.get("CPU", 1))))


def _words(resources: dict[str, float]) -> str:
    kinds = {key: value for key, value in resources.items() if key in ("HPU", "GPU", "CPU")}
    return ", ".join(f"{key}={value:g}" for key, value in kinds.items()) or "none of HPU, GPU and CPU"
