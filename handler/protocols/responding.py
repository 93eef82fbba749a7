"""Answers a batch in which requests may speak a protocol: each image becomes a plain request, and responses go back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lseg_serve.handler import pipeline
from lseg_serve.handler.pipeline import Headers, Row
from lseg_serve.handler.protocols.call import Call, error_text, message_of
from lseg_serve.handler.protocols.recognition import call_of, protocol_of
from lseg_serve.handler.requests import HEADER_PREFIX, PROTOCOL_HEADER, plain_headers
from lseg_serve.handler.responses import Response, ServerInfo
from lseg_serve.handler.watching.records import Record
from lseg_serve.segmenter import Segmenter, SegmenterError

Plain = tuple[Row, Headers, Record]


def respond(
    segmenter: Segmenter,
    rows: Sequence[Row],
    headers: Sequence[Headers],
    server: ServerInfo,
    records: Sequence[Record] | None = None,
) -> list[Response]:
    """As `pipeline.respond`, also for requests of the protocols v1 and v2. All images of the batch go together."""
    records = [Record() for _ in rows] if records is None else records
    requests = list(zip(rows, headers, records, strict=True))
    calls = [pipeline.guarded(segmenter, _call, row, own, server) for row, own, _ in requests]
    plain = [_plain(*request, call) for request, call in zip(requests, calls, strict=True)]
    together = [one for several in plain for one in several]
    responses = iter(
        pipeline.respond(
            segmenter, [row for row, _, _ in together], [own for _, own, _ in together], server,
            [record for _, _, record in together],
        )
    )  # fmt: skip
    return [
        _response(segmenter, record, call, [(next(responses), own) for _, _, own in several], server)
        for record, call, several in zip(records, calls, plain, strict=True)
    ]


def _call(row: Row, headers: Headers, server: ServerInfo) -> Call | None:
    """What a request of a protocol asks for; None for a plain request.

    Raises:
        InvalidRequestError: it is of a protocol, and cannot be understood.
    """
    try:
        named = plain_headers(headers)
    except SegmenterError:
        return None
    protocol = protocol_of(row, named, server.max_request_bytes)
    return None if protocol is None else call_of(protocol, row, named, server.max_request_bytes)


def _plain(row: Row, headers: Headers, record: Record, call: Call | SegmenterError | None) -> list[Plain]:
    """The plain requests that a request comes to: itself, those of its images, or none where it is refused.

    Of the headers of a request of a protocol only options stay, since the others tell of a body that is read already.
    """
    if call is None:
        return [(row, headers, record)]
    if isinstance(call, SegmenterError):
        return []
    options = {name: value for name, value in headers.items() if name.lower().startswith(HEADER_PREFIX)}
    options = {name: value for name, value in options.items() if name.lower() != PROTOCOL_HEADER}
    own: Headers = {**options, "Accept": call.accept, "Content-Type": "application/json"}
    count = len(call.requests)
    return [({"body": fields}, own, replace(record, images=count, steps=[], seconds={})) for fields in call.requests]


def _response(
    segmenter: Segmenter,
    record: Record,
    call: Call | SegmenterError | None,
    responses: Sequence[tuple[Response, Record]],
    server: ServerInfo,
) -> Response:
    """The one response to a request, and its record finished."""
    if call is None:
        return responses[0][0]
    if isinstance(call, SegmenterError):
        record.finish(int(call.status), call.type)
        return error_text(call.message, int(call.status))
    record.gather([own for _, own in responses])
    for number, (response, own) in enumerate(responses, 1):
        if own.error is not None:
            record.finish(response.status, own.error)
            place = f"image {number} of {len(responses)}: " if len(responses) > 1 else ""
            return error_text(place + message_of(response), response.status)
    outcome = pipeline.guarded(segmenter, call.answer, [response for response, _ in responses], server)
    if isinstance(outcome, SegmenterError):
        record.finish(int(outcome.status), outcome.type)
        return error_text(outcome.message, int(outcome.status))
    record.finish(outcome.status, None)
    return outcome
