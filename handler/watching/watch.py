"""All that a worker tells of its requests, in one place. Nothing of it costs a request its response."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

from lseg_serve.handler.watching.records import Record
from lseg_serve.handler.watching.request_log import RequestLog
from lseg_serve.handler.watching.request_metrics import RequestMetrics
from lseg_serve.handler.watching.tracing import Tracing
from lseg_serve.segmenter import Segmenter

logger = logging.getLogger(__name__)

P = ParamSpec("P")


class Watch:
    """Metrics, and where the environment asks for them a log line and spans of each request."""

    def __init__(self, segmenter: Segmenter, batch_size: int, metrics: Any) -> None:
        """Watch a worker whose batches hold up to `batch_size` requests; `metrics` is TorchServe's store of metrics."""
        self._metrics = RequestMetrics(segmenter, batch_size, metrics)
        self._writers = [one.write for one in (RequestLog.configured(), Tracing.configured()) if one is not None]
        self._failed: set[Callable[..., None]] = set()

    def begin(self, requests: int) -> None:
        """A batch of so many requests has come."""
        self._guarded(self._metrics.begin, requests)

    def end(self, records: Sequence[Record]) -> None:
        """The responses are made; `records` has those of the requests that asked for a mask."""
        self._guarded(self._metrics.end, records)
        for write in self._writers:
            for record in records:
                self._guarded(write, record)

    def _guarded(self, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run `step`. The log has its failure once, since it would come again with every batch."""
        try:
            step(*args, **kwargs)
        except Exception:
            if step not in self._failed:
                self._failed.add(step)
                logger.exception("Requests cannot be watched by %s (logged once)", step.__qualname__)
