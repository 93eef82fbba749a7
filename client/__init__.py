"""A client of the endpoint, for Python and for the command line."""

from lseg_serve.client.answers import FORMATS, Answer, Document, Parts, Picture, Scores
from lseg_serve.client.async_client import AsyncLSegClient
from lseg_serve.client.errors import (
    BadAnswer,
    BadInput,
    ClientError,
    NotReady,
    Overloaded,
    Refused,
    TimedOut,
    Unreachable,
    WorkerDied,
)
from lseg_serve.client.images import ImageInput
from lseg_serve.client.lseg_client import LSegClient
from lseg_serve.client.management import Description, LabelSet, Limits, Worker
from lseg_serve.client.masks import LegendEntry, Mask, read_mask
from lseg_serve.client.messages import form
from lseg_serve.client.report import Region, Report
from lseg_serve.client.retries import Retries
from lseg_serve.client.transport import on_loopback

__all__ = [
    "FORMATS",
    "Answer",
    "AsyncLSegClient",
    "BadAnswer",
    "BadInput",
    "ClientError",
    "Description",
    "Document",
    "ImageInput",
    "LSegClient",
    "LabelSet",
    "LegendEntry",
    "Limits",
    "Mask",
    "NotReady",
    "Overloaded",
    "Parts",
    "Picture",
    "Refused",
    "Region",
    "Report",
    "Retries",
    "Scores",
    "TimedOut",
    "Unreachable",
    "Worker",
    "WorkerDied",
    "form",
    "on_loopback",
    "read_mask",
]
