"""A line of JSON for each request, for those who read logs by machine.

The worker prints it, and `config/log4j2-json.xml` passes it on as it is. Other configurations of the logs would wrap it
in text, so there are such lines only where the variable `LSEG_LOGS` says json.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import datetime, timezone

from lseg_serve.handler.watching.records import Record

logger = logging.getLogger(__name__)

VARIABLE = "LSEG_LOGS"


class RequestLog:
    """Writes the line of each request."""

    @classmethod
    def configured(cls, environment: Mapping[str, str] = os.environ) -> RequestLog | None:
        """One where the environment asks for it, else None."""
        return cls() if environment.get(VARIABLE) == "json" else None

    def write(self, record: Record) -> None:
        """Write the line of a request that is finished. It begins as config/log4j2-json.xml expects it."""
        logger.info("%s", line_of(record))


def line_of(record: Record) -> str:
    """The line: ASCII, without a line end."""
    when = datetime.fromtimestamp(record.end, timezone.utc).isoformat(timespec="milliseconds")
    return json.dumps({"time": when, "level": "INFO", "logger": "request", **record.as_dict()})
