"""The entry point that TorchServe loads. It must define exactly one class; the way of a request is in pipeline.py."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import compress
from pathlib import Path

from PIL import Image
from ts.context import Context
from ts.service import Service

from lseg_serve.handler.bodies import MOST_BYTES
from lseg_serve.handler.description import describe
from lseg_serve.handler.limits import frontend_limit
from lseg_serve.handler.metrics import DeviceMetrics
from lseg_serve.handler.pipeline import Headers, Row
from lseg_serve.handler.process.ending import end_process_soon
from lseg_serve.handler.process.tuning import ProcessTuning
from lseg_serve.handler.protocols.responding import respond
from lseg_serve.handler.repeated_fields import keep_repeated_fields
from lseg_serve.handler.responses import Response, ServerInfo, error_response
from lseg_serve.handler.watching.records import Record
from lseg_serve.handler.watching.watch import Watch
from lseg_serve.segmenter import (
    Config,
    ModelConfigFile,
    NotReadyError,
    Segmenter,
    SegmenterError,
    choose_device,
)

logger = logging.getLogger(__name__)


class LSegHandler:
    """A worker: TorchServe calls `initialize` once, then `handle` for each batch of requests."""

    def __init__(self) -> None:
        self.segmenter: Segmenter | None = None
        self.server: ServerInfo | None = None
        self.metrics: DeviceMetrics | None = None
        self.watch: Watch | None = None
        self.tuning = ProcessTuning()

    def initialize(self, context: Context) -> None:
        """Load the unpacked archive onto its device and warm it up.

        An error here stops the worker; its message in the log says what to change.
        """
        start = time.perf_counter()
        keep_repeated_fields(Service)
        config = _within_response_timeout(context)
        properties = context.system_properties
        device = choose_device(config, properties.get("gpu_id"))
        self.tuning.start()
        Image.MAX_IMAGE_PIXELS = None  # the configuration has the limit, and this process decodes for nobody else
        with self.tuning.busy():
            folder, most_images = Path(properties["model_dir"]), properties.get("batch_size")
            self.segmenter = Segmenter.load(folder, config, device, most_images)
            self.segmenter.warm_up()
        self.server = _server_info(context, config, device.name)
        self.metrics = DeviceMetrics(self.segmenter)
        self.watch = Watch(self.segmenter, int(most_images or 1), context.metrics)
        logger.info("Ready on %s after %.1f s", device.describe(), time.perf_counter() - start)

    def handle(self, data: list[Row], context: Context) -> list[bytes]:
        """One body for each row of `data`, in their order; statuses and headers go into `context`."""
        with self.tuning.busy():
            headers = [context.get_all_request_header(index) for index in range(len(data))]
            to_segment = [not _asks_for_description(row, header) for row, header in zip(data, headers, strict=True)]
            records = _records(context, headers)
            if self.watch is not None:
                self.watch.begin(len(data))
            responses = self._respond(data, headers, to_segment, records)
            for index, (header, response) in enumerate(zip(headers, responses, strict=True)):
                _end_stream(context, index, header)
                _set_headers(context, index, response)
            if self.segmenter is not None and self.segmenter.device.lost:
                end_process_soon()
            elif self.metrics is not None:
                self.metrics.report(context.metrics)
            if self.watch is not None:
                self.watch.end(list(compress(records, to_segment)))
        return [response.body for response in responses]

    def _respond(
        self, data: list[Row], headers: list[Headers], to_segment: list[bool], records: list[Record]
    ) -> list[Response]:
        """One response for each row: a mask where `to_segment` says so, else what the model says of itself."""
        if self.segmenter is None or self.server is None:
            return [error_response(NotReadyError("the worker is still loading")) for _ in data]
        rows, row_headers = list(compress(data, to_segment)), list(compress(headers, to_segment))
        row_records = list(compress(records, to_segment))
        responses = iter(respond(self.segmenter, rows, row_headers, self.server, row_records))
        if all(to_segment):
            return list(responses)
        description = _description(self.segmenter, self.server)
        return [next(responses) if one else description for one in to_segment]


def _records(context: Context, headers: Sequence[Headers]) -> list[Record]:
    return [Record.of(context.get_request_id(index), own, len(headers)) for index, own in enumerate(headers)]


def _server_info(context: Context, config: Config, device: str) -> ServerInfo:
    limits = (config.max_response_bytes, frontend_limit("max_response_size"))
    return ServerInfo(
        model_name=context.model_name,
        model_version=(context.manifest or {}).get("model", {}).get("modelVersion", ""),
        device=device,
        max_response_bytes=min(limit for limit in limits if limit is not None),
        max_request_bytes=frontend_limit("max_request_size") or MOST_BYTES,
        timings=config.timings,
    )


def _description(segmenter: Segmenter, server: ServerInfo) -> Response:
    """What the model says of itself. A device that cannot say how it is costs the other requests of a batch nothing."""
    try:
        return Response(json.dumps(describe(segmenter, server.max_response_bytes)).encode(), "application/json")
    except Exception:
        logger.exception("The model cannot be described")
        return error_response(SegmenterError("internal error; the server's log has its cause"))


def _within_response_timeout(context: Context) -> Config:
    """The configuration, its `max_request_seconds` low enough for a whole batch to be done within `responseTimeout`."""
    document = context.model_yaml_config or {}
    config = Config.from_mapping(document)
    batch_size = int(context.system_properties.get("batch_size") or 1)
    most = max(1, ModelConfigFile.model_validate(document).response_timeout // batch_size)
    return config.replaced(max_request_seconds=min(config.max_request_seconds, most))


def _asks_for_description(row: Row, headers: Mapping[str, object]) -> bool:
    """Whether this is TorchServe's own request for a description of the model, which has no content.

    TorchServe marks it by a header. A client may send that header, too: its request is served like any other, unless
    it is empty.
    """
    return headers.get("describe") == "True" and not any(row.values())


def _end_stream(context: Context, index: int, headers: Mapping[str, object]) -> None:
    """Tell a gRPC stream call that its one response is the last. Otherwise TorchServe kills the worker.

    Only gRPC rows come without any header of their own. Over HTTP the same header would break the response.
    """
    if not any(isinstance(value, str) for value in headers.values()):
        context.set_response_header(index, "ts_stream_next", "false")


def _set_headers(context: Context, index: int, response: Response) -> None:
    """Set status and headers of a response. All of it is ASCII text: anything else blocks or kills the worker."""
    if response.status != HTTPStatus.OK:
        context.set_response_status(response.status, HTTPStatus(response.status).phrase, index)
    context.set_response_content_type(index, response.content_type)
    for name, value in response.headers.items():
        context.set_response_header(index, name, value)
