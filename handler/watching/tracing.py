"""OpenTelemetry spans of each request, as children of the span that its `traceparent` header names.

An extra: `pip install 'lseg-serve[otel]'`. It is on where one of OpenTelemetry's own variables names a collector;
nothing of OpenTelemetry is imported otherwise.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from lseg_serve.handler.watching.records import Record

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SERVER_ERROR = 500


class Tracing:
    """Makes the spans of finished requests and hands them to an exporter, which sends them in the background."""

    def __init__(self, provider: Any) -> None:
        """Use the tracer of `provider`, an OpenTelemetry TracerProvider."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("lseg_serve")
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def configured(cls, environment: Mapping[str, str] = os.environ) -> Tracing | None:
        """One that sends to the collector which the environment names; None where it names none.

        Where OpenTelemetry is not installed the log says so, and requests are served without spans.
        """
        wanted = any(environment.get(name) for name in _ENDPOINTS)
        if not wanted or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return None
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            logger.warning("No spans are sent (%s); they need: pip install 'lseg-serve[otel]'", error)
            return None
        named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        provider = TracerProvider(resource=Resource.create({} if named else {"service.name": "lseg"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    def write(self, record: Record) -> None:
        """Hand over the spans of a request that is finished: its own, and one for each of its steps.

        The step segment is that of the whole batch; the request's shares of network and mask are among its attributes.
        """
        from opentelemetry import trace

        above = self._propagator.extract(dict(record.trace))
        own = self._tracer.start_span(
            "lseg.request", above, trace.SpanKind.SERVER, _attributes(record), start_time=_nanoseconds(record.start)
        )
        within = trace.set_span_in_context(own, above)
        for step in record.steps:
            span = self._tracer.start_span(f"lseg.{step.name}", within, start_time=_nanoseconds(step.start))
            span.end(_nanoseconds(step.end))
        if record.status >= _SERVER_ERROR:
            own.set_status(trace.StatusCode.ERROR, record.error)
        own.end(_nanoseconds(record.end))

    def close(self) -> None:
        """Send what still waits to be sent, and end."""
        self._provider.shutdown()


def _attributes(record: Record) -> dict[str, str | int | float]:
    """The record's figures by OpenTelemetry's names where it has one."""
    known: dict[str, str | int | float | None] = {
        "http.response.status_code": record.status,
        "error.type": record.error,
        "lseg.request_id": record.request_id,
        "lseg.client_request_id": record.client_id,
        "lseg.batch": record.batch,
        "lseg.format": record.format,
        "lseg.mode": record.mode,
        "lseg.labels": record.labels,
        "lseg.height": record.height,
        "lseg.width": record.width,
        "lseg.bucket": record.bucket,
        **{f"lseg.seconds.{stage}": seconds for stage, seconds in record.seconds.items()},
    }
    return {name: value for name, value in known.items() if value is not None}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
