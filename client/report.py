"""The answer of the format `json`, typed."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lseg_serve.client.errors import BadAnswer
from lseg_serve.client.masks import Mask, read_mask

_FROZEN = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class Region(BaseModel):
    """The pixels of one label. A label without a pixel has area 0, and neither a box nor an outline."""

    model_config = _FROZEN

    index: int
    name: str
    color: str  # "#rrggbb"
    area: int  # pixels
    share: float  # 0..1, of all pixels
    mean_score: float | None = None  # the mean softmax over its pixels
    box: tuple[int, int, int, int] | None = None  # left, top, width, height, in pixels
    # The outline, by the request's `geometry`; the other two are None.
    rle: dict[str, Any] | None = None  # COCO's: {"size": [H, W], "counts": str}
    polygons: list[list[list[tuple[int, int]]]] | None = None  # of each part its shell, then its holes: rings of x, y
    label_studio: list[int] | None = None  # Label Studio's brush format


class ModelName(BaseModel):
    """Which model answered."""

    model_config = _FROZEN

    name: str
    version: str


class Unlabelled(BaseModel):
    """The pixels without a label."""

    model_config = _FROZEN

    area: int  # pixels
    share: float  # 0..1


def _mask(text: object) -> object:
    return read_mask(base64.b64decode(text, validate=True)) if isinstance(text, str) else text


class Report(BaseModel):
    """The answer of the format `json`: each label in numbers and outlines, and the mask."""

    model_config = _FROZEN

    width: int
    height: int
    model: ModelName
    mode: str
    device: str
    timings_ms: dict[str, float] = {}
    labels: tuple[Region, ...]
    unlabelled: Unlabelled
    mask: Annotated[Mask, BeforeValidator(_mask)]
    body: bytes = Field(b"", exclude=True, repr=False)  # the JSON, as it came


def read_report(body: bytes) -> Report:
    """A report from its JSON.

    Raises:
        BadAnswer: it is no such JSON.
    """
    try:
        return Report.model_validate_json(body).model_copy(update={"body": body})
    except (ValidationError, binascii.Error) as error:
        raise BadAnswer(f"the response is no report in JSON: {first_finding(error)}") from error


def first_finding(error: Exception) -> str:
    """Where the first fault is, and what it is."""
    if not isinstance(error, ValidationError):
        return str(error)
    finding = error.errors(include_url=False)[0]
    place = ".".join(map(str, finding["loc"]))
    return f"{place}: {finding['msg']}" if place else str(finding["msg"])
