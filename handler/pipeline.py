"""The way of a batch of requests: each has its own checks and its own response; only the network is shared."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

from lseg_serve.handler.formats import FORMAT_BY_NAME
from lseg_serve.handler.formats.embeddings import EMBEDDINGS
from lseg_serve.handler.process.memory import trim_memory
from lseg_serve.handler.request_model import Request
from lseg_serve.handler.requests import parse_request, plain_headers
from lseg_serve.handler.responses import (
    Response,
    ServerInfo,
    check_embedding_bytes,
    embedding_response,
    error_response,
    make_response,
)
from lseg_serve.handler.watching.records import Record
from lseg_serve.segmenter import (
    DeviceLostError,
    Embedding,
    EmbedJob,
    EncodedLabels,
    Job,
    OutOfMemoryError,
    Pixels,
    Reading,
    Segmentation,
    Segmenter,
    SegmenterError,
    decode_image,
)

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

Row = Mapping[str, object]
Headers = Mapping[str, object]


@dataclass(frozen=True)
class Prepared:
    """A request that has passed every check, its labels encoded and its image decoded."""

    record: Record
    request: Request
    job: Job | EmbedJob
    decode_seconds: float


def respond(
    segmenter: Segmenter,
    rows: Sequence[Row],
    headers: Sequence[Headers],
    server: ServerInfo,
    records: Sequence[Record] | None = None,
) -> list[Response]:
    """One response for each row, in their order. What is wrong with one request changes nothing for the others.

    What becomes of each request is noted in its record, where there are `records`.
    """
    records = [Record() for _ in rows] if records is None else records
    prepared = [
        guarded(segmenter, _prepare, segmenter, row, header, server, record)
        for row, header, record in zip(rows, headers, records, strict=True)
    ]
    masks = iter(_segment(segmenter, [one for one in prepared if isinstance(one, Prepared)]))
    responses = []
    for record, one in zip(records, prepared, strict=True):
        outcome: Response | SegmenterError
        if isinstance(one, Prepared):
            result = next(masks) if isinstance(one.job, Job) else _embed(segmenter, one.record, one.job)
            outcome = _response(segmenter, one, result, server)
        else:
            outcome = one
        responses.append(_finished(record, outcome))
    return responses


def _prepare(segmenter: Segmenter, row: Row, headers: Headers, server: ServerInfo, record: Record) -> Prepared:
    with record.step("parse"):
        request = parse_request(row, plain_headers(headers), server.max_request_bytes)
    record.format = request.format
    if request.format == EMBEDDINGS:
        return _prepare_embedding(segmenter, request, server, record)
    record.mode = request.mode or segmenter.config.mode
    text = _encoded(segmenter, request, record)
    start = time.perf_counter()
    image = _decoded(segmenter, request, record)
    wanted = FORMAT_BY_NAME[request.format]
    job = Job(
        image,
        text,
        request.threshold,
        with_scores=wanted.mean_scores,
        with_score_map=wanted.score_map,
        mode=record.mode,
    )
    decode_seconds = time.perf_counter() - start
    segmenter.check_cost(job, record.images)
    return Prepared(record, request, job, decode_seconds)


def _prepare_embedding(segmenter: Segmenter, request: Request, server: ServerInfo, record: Record) -> Prepared:
    """As `_prepare`; a request for embeddings may have no labels, or labels and no image."""
    text = None if request.labels is None else _encoded(segmenter, request, record)
    start = time.perf_counter()
    image = _decoded(segmenter, request, record) if request.has_image else None
    decode_seconds = time.perf_counter() - start
    job = EmbedJob(image, text, request.points, request.embed_options)
    check_embedding_bytes(record.images * segmenter.check_embedding(job, record.images), server)
    return Prepared(record, request, job, decode_seconds)


def _encoded(segmenter: Segmenter, request: Request, record: Record) -> EncodedLabels:
    with record.step("text"):
        text = segmenter.encode_labels(request.labels, request.template)
    record.labels = len(text.labels)
    return text


def _decoded(segmenter: Segmenter, request: Request, record: Record) -> Pixels:
    with record.step("decode"):
        reading = Reading(request.bands, request.range)
        image = decode_image(request.image, max(1, segmenter.config.max_image_pixels // record.images), reading)
    record.height, record.width = image.shape[:2]
    return image


def _segment(segmenter: Segmenter, prepared: Sequence[Prepared]) -> list[Segmentation | SegmenterError]:
    """The masks of all jobs together; where that fails, of each alone, so that only the culprit suffers."""
    jobs = {one.record: one.job for one in prepared if isinstance(one.job, Job)}
    if len(jobs) > 1:
        start = time.time()
        together = _tried(segmenter, segmenter.segment_batch, list(jobs.values()))
        for record in jobs:
            record.add_step("segment", start)
        if not isinstance(together, SegmenterError):
            return list(together)
        if isinstance(together, OutOfMemoryError):
            _free_memory(segmenter)
        if segmenter.device.lost:
            return [together] * len(jobs)
    return [_segment_alone(segmenter, record, job) for record, job in jobs.items()]


def _segment_alone(segmenter: Segmenter, record: Record, job: Job) -> Segmentation | SegmenterError:
    with record.step("segment"):
        found = guarded(segmenter, segmenter.segment_batch, [job])
    return found if isinstance(found, SegmenterError) else found[0]


def _embed(segmenter: Segmenter, record: Record, job: EmbedJob) -> Embedding | SegmenterError:
    with record.step("embed"):
        found = guarded(segmenter, segmenter.embed_batch, [job])
    return found if isinstance(found, SegmenterError) else found[0]


def _response(
    segmenter: Segmenter, prepared: Prepared, result: Segmentation | Embedding | SegmenterError, server: ServerInfo
) -> Response | SegmenterError:
    if isinstance(result, SegmenterError):
        return result
    record = prepared.record
    timed = replace(result, seconds={"decode": prepared.decode_seconds, **result.seconds})
    start = time.perf_counter()
    response: Response | SegmenterError
    with record.step("response"):
        if isinstance(timed, Segmentation):
            record.bucket = str(timed.bucket)
            image = prepared.job.image
            assert image is not None  # a mask has one
            response = guarded(segmenter, make_response, prepared.request, image, timed, server)
        else:
            response = guarded(segmenter, embedding_response, prepared.request, timed, server)
    record.seconds = {**timed.seconds, "response": time.perf_counter() - start}
    return response


def _finished(record: Record, outcome: Response | SegmenterError) -> Response:
    """The response, or that to an error; the record has its status."""
    response = error_response(outcome) if isinstance(outcome, SegmenterError) else outcome
    record.finish(response.status, outcome.type if isinstance(outcome, SegmenterError) else None)
    return response


def guarded(segmenter: Segmenter, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | SegmenterError:
    """The result of `step`, or an error to respond with. For want of memory the step is tried once more.

    What the caches hold is worth less than a response, so they are emptied in between.
    """
    result = _tried(segmenter, step, *args, **kwargs)
    if isinstance(result, OutOfMemoryError):
        # Not before `_tried` has returned: until then the error's traceback holds what the failed try had allocated.
        _free_memory(segmenter)
        result = _tried(segmenter, step, *args, **kwargs)
    return result


def _free_memory(segmenter: Segmenter) -> None:
    segmenter.free_memory()
    trim_memory()


def _tried(segmenter: Segmenter, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | SegmenterError:
    """The result of `step`, or what went wrong as an error to respond with. Only the log sees an unforeseen cause."""
    device = segmenter.device
    try:
        return step(*args, **kwargs)
    except SegmenterError as error:
        return error
    except Exception as error:
        if device.lost or device.is_lost_by(error):
            device.lost = True  # whatever it says from now on
            logger.exception("The device failed")
            return DeviceLostError("the device failed, and this worker is being replaced; send the request again")
        if device.is_out_of_memory(error):
            logger.warning("Out of memory", exc_info=True)
            return OutOfMemoryError("out of memory, with all caches emptied; try a smaller image or fewer labels")
        logger.exception("Unforeseen error")
        return SegmenterError("internal error; the server's log has its cause")
