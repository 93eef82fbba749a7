"""What requests and the network came to, as TorchServe metrics: `GET :8082/metrics`. docs/watching.md explains each.

A metric travels to TorchServe as a line that the worker prints. A line for every bucket of every stage would cost a
fast request more than its mask, so numbers add up here and are reported by a thread, once a second at most: the cost is
bounded by time, whatever the load.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import psutil
from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes

from lseg_serve.handler.watching.records import Record
from lseg_serve.handler.watching.totals import LABELS_BOUNDS, SECONDS_BOUNDS, Totals
from lseg_serve.segmenter import Segmenter, SegmenterError

logger = logging.getLogger(__name__)

STAGES = ("decode", "text", "network", "mask", "embed", "response")
_SECONDS_BETWEEN_REPORTS = 1.0


class RequestMetrics:
    """Counts the requests of a worker and reports them. Made once, when the segmenter has been warmed up.

    Counts begin then: neither loading nor warm-up is in them.
    """

    def __init__(self, segmenter: Segmenter, batch_size: int, metrics: Any) -> None:
        """Count for a worker whose batches hold up to `batch_size` requests, into TorchServe's store of metrics."""
        self._segmenter = segmenter
        self._batch_size = batch_size
        self._metrics = metrics
        self._totals = Totals()
        self._worker = worker_number(sys.argv)
        self._in_flight = 0
        self._busy_since = 0.0
        self._before = self._counted()
        self._gauges: dict[str, int] = {}
        self._changed, self._stopped = threading.Event(), threading.Event()
        self._reporter = threading.Thread(target=self._report_on_change, name="metrics", daemon=True)
        self._failed = False
        self._prepare()
        self._changed.set()
        self._reporter.start()

    def begin(self, requests: int) -> None:
        """A batch of so many requests has come."""
        self._in_flight, self._busy_since = requests, time.perf_counter()
        self._changed.set()

    def end(self, records: Sequence[Record]) -> None:
        """The responses of the batch are made; `records` has those of its requests that asked for a mask."""
        self._totals.add("LSegBusySeconds", time.perf_counter() - self._busy_since, Worker=self._worker)
        self._in_flight = 0
        if records:
            self._totals.add("LSegBatches", 1)
            self._totals.add("LSegBatchRequests", len(records))
            self._totals.add("LSegBatchSlots", self._batch_size)
        for record in records:
            self._count(record)
        self._changed.set()

    def report(self) -> None:
        """Report what has changed since the last report. For one thread at a time."""
        for name, total in self._counted().items():
            self._totals.follow(name[0], total - self._before.get(name, 0), **dict(name[1:]))
        for growth in self._totals.growth():
            dimensions = self._dimensions(growth.dimensions)
            self._metrics.add_counter(growth.name, round(growth.value, 6), dimensions=dimensions)
        cache = self._segmenter.feature_cache
        self._gauge("LSegRequestsInFlight", self._in_flight, "count")
        self._gauge("LSegWorkerMemory", round(psutil.Process().memory_info().rss / 1e6), "MB")
        self._gauge("LSegFeatureCacheMemory", 0 if cache is None else round(cache.counts.bytes / 1e6), "MB")

    def stop(self) -> None:
        """End the thread, then report what is left. A worker needs no such end: it goes with its process."""
        self._stopped.set()
        self._changed.set()
        self._reporter.join()
        self._report_guarded()

    def _prepare(self) -> None:
        """Make known what may be asked for before it happens, since a counter that begins at 1 has no rate."""
        self._totals.add("LSegRequests", 0, Status="200", Error="none")
        for error in _errors(SegmenterError):
            self._totals.add("LSegRequests", 0, Status=str(int(error.status)), Error=error.type)
        for stage in STAGES:
            self._totals.prepare("LSegStageSeconds", SECONDS_BOUNDS, Stage=stage)
        self._totals.prepare("LSegRequestSeconds", SECONDS_BOUNDS)
        self._totals.prepare("LSegRequestLabels", LABELS_BOUNDS)
        for name in ("LSegBatches", "LSegBatchRequests", "LSegBatchSlots"):
            self._totals.add(name, 0)
        self._totals.add("LSegBusySeconds", 0, Worker=self._worker)
        for bucket in self._segmenter.shapes.image_buckets():
            self._totals.add("LSegBucketImages", 0, Bucket=str(bucket))

    def _count(self, record: Record) -> None:
        self._totals.add("LSegRequests", 1, Status=str(record.status), Error=record.error or "none")
        self._totals.observe("LSegRequestSeconds", record.end - record.start)
        if record.labels is not None:
            self._totals.observe("LSegRequestLabels", record.labels)
        for stage, seconds in record.seconds.items():
            self._totals.observe("LSegStageSeconds", seconds, Stage=stage)

    def _counted(self) -> dict[tuple[Any, ...], float]:
        """What the segmenter has counted by itself: the name and dimensions of each counter -> its total."""
        usage, text = self._segmenter.network.usage, self._segmenter.text_cache.counts
        cache = self._segmenter.feature_cache
        counted: dict[tuple[Any, ...], float] = {
            ("LSegTextCacheHits",): text.hits,
            ("LSegTextCacheMisses",): text.misses,
            ("LSegFeatureCacheHits",): 0 if cache is None else cache.counts.hits,
            ("LSegFeatureCacheMisses",): 0 if cache is None else cache.counts.misses,
        }
        slots = {
            "image": (usage.images, usage.image_slots),
            "label": (usage.labels, usage.label_slots),
            "text": (usage.texts, usage.text_slots),
        }
        for kind, (used, computed) in slots.items():
            counted["LSegNetworkUsed", ("Kind", kind)] = used
            counted["LSegNetworkSlots", ("Kind", kind)] = computed
        for bucket, images in dict(usage.buckets).items():
            counted["LSegBucketImages", ("Bucket", bucket)] = images
        return counted

    def _gauge(self, name: str, value: int, unit: str) -> None:
        if self._gauges.get(name) != value:
            dimensions = self._dimensions((("Worker", self._worker),))
            self._metrics.add_metric(name, value, unit, dimensions=dimensions, metric_type=MetricTypes.GAUGE)
            self._gauges[name] = value

    def _dimensions(self, own: Sequence[tuple[str, str]]) -> list[Dimension]:
        """A new list each time, since TorchServe appends to it.

        It has what TorchServe would append, which depends on the request of the moment; a report belongs to none.
        """
        always = (("ModelName", str(self._metrics.model_name)), ("Level", "Model"))
        return [Dimension(*one) for one in (("Device", self._segmenter.device.short_name), *own, *always)]

    def _report_on_change(self) -> None:
        while not self._stopped.is_set():
            self._changed.wait()
            self._changed.clear()
            self._report_guarded()
            self._stopped.wait(_SECONDS_BETWEEN_REPORTS)

    def _report_guarded(self) -> None:
        try:
            self.report()
        except Exception:
            if not self._failed:
                logger.exception("Metrics of requests cannot be reported (logged once)")
            self._failed = True


def worker_number(arguments: Sequence[str]) -> str:
    """The number of this worker as TorchServe has it, such as 9000, from its command line; else its process id."""
    for option, value in itertools.pairwise(arguments):
        if option in ("--sock-name", "--port") and (number := re.search(r"\d+$", value)):
            return number[0]
    return str(os.getpid())


def _errors(kind: type[SegmenterError]) -> list[type[SegmenterError]]:
    return [kind, *(one for below in kind.__subclasses__() for one in _errors(below))]
