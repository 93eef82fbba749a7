"""The way of a batch of requests: each has its own checks and its own response; only the network is shared."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import torch

from lseg_serve.handler.request_model import Request
from lseg_serve.handler.requests import parse_request, plain_headers
from lseg_serve.handler.responses import Response, ServerInfo, error_response, make_response
from lseg_serve.segmenter import (
    Job,
    OutOfMemoryError,
    Reading,
    Segmentation,
    Segmenter,
    SegmenterError,
    checked_labels,
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

    request: Request
    job: Job
    decode_seconds: float


def respond(
    segmenter: Segmenter, rows: Sequence[Row], headers: Sequence[Headers], server: ServerInfo
) -> list[Response]:
    """One response for each row, in their order. What is wrong with one request changes nothing for the others."""
    prepared = [
        _guarded(_prepare, segmenter, row, header, server.max_request_bytes)
        for row, header in zip(rows, headers, strict=True)
    ]
    segmented = _segment(segmenter, [one for one in prepared if isinstance(one, Prepared)])
    if any(isinstance(one, OutOfMemoryError) for one in [*prepared, *segmented]):
        segmenter.clear_feature_cache()
    results = iter(segmented)
    return [
        _response(one, next(results), server) if isinstance(one, Prepared) else error_response(one) for one in prepared
    ]


def _prepare(segmenter: Segmenter, row: Row, headers: Headers, most_bytes: int) -> Prepared:
    request = parse_request(row, plain_headers(headers), most_bytes)
    labels = None if request.labels is None else checked_labels(request.labels, segmenter.config)
    text = segmenter.encode_labels(labels)
    start = time.perf_counter()
    reading = Reading(request.bands, request.range)
    image = decode_image(request.image, segmenter.config.max_image_pixels, reading)
    mode = request.mode or segmenter.config.mode
    job = Job(image, text, request.threshold, with_scores=request.format == "json", mode=mode)
    return Prepared(request, job, time.perf_counter() - start)


def _segment(segmenter: Segmenter, prepared: Sequence[Prepared]) -> list[Segmentation | SegmenterError]:
    """The results of all requests together; where that fails, of each alone, so that only the culprit suffers."""
    jobs = [one.job for one in prepared]
    together = _guarded(segmenter.segment_batch, jobs)
    if not isinstance(together, SegmenterError):
        return list(together)
    if len(jobs) == 1:
        return [together]
    alone = [_guarded(segmenter.segment_batch, [job]) for job in jobs]
    return [one if isinstance(one, SegmenterError) else one[0] for one in alone]


def _response(prepared: Prepared, result: Segmentation | SegmenterError, server: ServerInfo) -> Response:
    if isinstance(result, SegmenterError):
        return error_response(result)
    timed = replace(result, seconds={"decode": prepared.decode_seconds, **result.seconds})
    response = _guarded(make_response, prepared.request, prepared.job.image, timed, server)
    return error_response(response) if isinstance(response, SegmenterError) else response


def _guarded(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | SegmenterError:
    """The result of `step`, or what went wrong as an error to respond with. Only the log sees an unforeseen cause."""
    try:
        return step(*args, **kwargs)
    except SegmenterError as error:
        return error
    except Exception as error:
        logger.exception("Unforeseen error")
        if _is_out_of_memory(error):
            return OutOfMemoryError("out of memory; try a smaller image or fewer labels")
        return SegmenterError("internal error; the server's log has its cause")


def _is_out_of_memory(error: Exception) -> bool:
    """Torch has an error of its own for accelerators; on a CPU only its words tell."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
