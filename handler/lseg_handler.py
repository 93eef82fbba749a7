"""The entry point that TorchServe loads. It must define exactly one class; the way of a request is in pipeline.py."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus
from itertools import compress
from pathlib import Path

from ts.context import Context

from lseg_serve.handler.description import describe
from lseg_serve.handler.limits import frontend_response_limit
from lseg_serve.handler.metrics import DeviceMetrics
from lseg_serve.handler.pipeline import Headers, Row, answer_batch
from lseg_serve.handler.process.memory import IdleRelease, keep_freed
from lseg_serve.handler.process.workers import ThreadShare
from lseg_serve.handler.responses import Answer, Served, error_answer
from lseg_serve.segmenter import Config, NotReadyError, Segmenter, choose_device

logger = logging.getLogger(__name__)


class LSegHandler:
    """A worker's life: initialised once, then one `handle` for each batch."""

    def __init__(self) -> None:
        self.segmenter: Segmenter | None = None
        self.served: Served | None = None
        self.metrics: DeviceMetrics | None = None
        self.threads: ThreadShare | None = None
        self.memory = IdleRelease()

    def initialize(self, context: Context) -> None:
        """Load the unpacked archive onto its device and warm it up.

        An error here stops the worker; its message in the log says what to change.
        """
        start = time.perf_counter()
        config = Config.from_mapping(context.model_yaml_config or {})
        device = choose_device(config, context.system_properties.get("gpu_id"))
        if device.kind == "cpu":
            self.threads = ThreadShare()
            self.threads.follow()
            keep_freed()
        self.segmenter = Segmenter.load(Path(context.system_properties["model_dir"]), config, device)
        self.segmenter.warm_up()
        self.memory.end()
        limits = (config.max_response_bytes, frontend_response_limit())
        version = (context.manifest or {}).get("model", {}).get("modelVersion", "")
        self.served = Served(
            model_name=context.model_name,
            model_version=version,
            device=device.name,
            max_bytes=min(limit for limit in limits if limit is not None),
        )
        self.metrics = DeviceMetrics(self.segmenter)
        logger.info("Ready on %s after %.1f s", device.describe(), time.perf_counter() - start)

    def handle(self, data: list[Row], context: Context) -> list[bytes]:
        """One body for each row of `data`, in their order; statuses and headers go into `context`."""
        self.memory.begin()
        if self.threads is not None:
            self.threads.follow()
        headers = [context.get_all_request_header(index) for index in range(len(data))]
        for index, header in enumerate(headers):
            self._end_stream(context, index, header)
        answers = self._answers(data, headers)
        for index, answer in enumerate(answers):
            self._report(context, index, answer)
        if self.metrics is not None:
            self.metrics.report(context.metrics)
        self.memory.end()
        if self.threads is not None:
            self.threads.look_soon()
        return [answer.body for answer in answers]

    def _answers(self, data: list[Row], headers: list[Headers]) -> list[Answer]:
        if self.segmenter is None or self.served is None:
            return [error_answer(NotReadyError("the worker is still loading")) for _ in data]
        asked = [not self._is_describe(row, header) for row, header in zip(data, headers, strict=True)]
        served = iter(
            answer_batch(self.segmenter, list(compress(data, asked)), list(compress(headers, asked)), self.served)
        )
        description = b"" if all(asked) else json.dumps(describe(self.segmenter, self.served.max_bytes)).encode()
        return [next(served) if one else Answer(description, "application/json") for one in asked]

    @staticmethod
    def _is_describe(row: Row, headers: Mapping[str, object]) -> bool:
        """Whether TorchServe asks for a description; a client's header of that name on a request with content does not.

        The management port adds the header to its caller's own, so an empty prediction request with it looks the same.
        """
        return headers.get("describe") == "True" and not any(row.values())

    @staticmethod
    def _end_stream(context: Context, index: int, headers: Mapping[str, object]) -> None:
        """Tell a gRPC stream call that its one answer is the last: without this word TorchServe kills the worker.

        Only gRPC rows come without any header of their own; over HTTP the same word would break the answer.
        """
        if not any(isinstance(value, str) for value in headers.values()):
            context.set_response_header(index, "ts_stream_next", "false")

    @staticmethod
    def _report(context: Context, index: int, answer: Answer) -> None:
        """Set what describes the answer. All of it is ASCII text: anything else wedges or kills a TorchServe worker."""
        if answer.status != HTTPStatus.OK:
            context.set_response_status(answer.status, HTTPStatus(answer.status).phrase, index)
        context.set_response_content_type(index, answer.content_type)
        for name, value in answer.headers.items():
            context.set_response_header(index, name, value)
