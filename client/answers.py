"""The answers of all formats, read from what the server sent."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
from PIL import Image

from lseg_serve.client.errors import BadAnswer
from lseg_serve.client.masks import LegendEntry, Mask, opened, read_legend, read_mask
from lseg_serve.client.messages import Reply
from lseg_serve.client.report import Report, read_report

_DURATION = re.compile(r"(\w+);dur=([0-9]+(?:\.[0-9]+)?)")
_CUTOUT = re.compile(r"cutouts/([0-9]{3})_.*\.png")


@dataclass(frozen=True)
class Picture:
    """The answer of the formats `color` and `overlay`."""

    png: bytes = field(repr=False)
    legend: tuple[LegendEntry, ...]  # as many entries as a header can hold
    legend_is_whole: bool
    device: str = ""  # that computed it
    timings_ms: Mapping[str, float] = field(default_factory=dict)  # of each stage

    def image(self) -> Image.Image:
        """The picture, RGB.

        Raises:
            BadAnswer: it cannot be decoded.
        """
        return opened(self.png)


@dataclass(frozen=True)
class Scores:
    """The answer of the format `npz`."""

    npz: bytes = field(repr=False)
    scores: npt.NDArray[np.float16]  # [K, h, w], logits at the network's own resolution
    labels: tuple[str, ...]  # K names
    image_size: tuple[int, int]  # height, width
    device: str = ""  # that computed it
    timings_ms: Mapping[str, float] = field(default_factory=dict)  # of each stage


@dataclass(frozen=True)
class Parts:
    """The answer of the format `zip`."""

    zip: bytes = field(repr=False)
    mask: Mask
    overlay: bytes = field(repr=False)  # PNG
    cutouts: Mapping[int, bytes] = field(repr=False)  # PNG of each label that is present, by its index
    device: str = ""  # that computed it
    timings_ms: Mapping[str, float] = field(default_factory=dict)  # of each stage


@dataclass(frozen=True)
class Document:
    """The answer of the formats `coco` and `hf`."""

    content: Any  # `coco`: a COCO document, a dictionary; `hf`: a list of label, score and mask
    body: bytes = field(repr=False)  # the JSON, as it came
    device: str = ""  # that computed it
    timings_ms: Mapping[str, float] = field(default_factory=dict)  # of each stage


Answer: TypeAlias = Mask | Picture | Report | Scores | Parts | Document


def read_answer(format: str, reply: Reply) -> Answer:  # noqa: A002 - the request's name of it
    """The answer in `reply`, a response of success to a request for `format`, which is one of `FORMATS`.

    Raises:
        BadAnswer: it holds something else.
    """
    return _READERS[format](reply)


def _mask(reply: Reply) -> Mask:
    return read_mask(reply.body, *_origin(reply))


def _picture(reply: Reply) -> Picture:
    opened(reply.body)
    text = reply.headers.get("x-lseg-legend")
    legend = read_legend(unquote(text)) if text else ()
    whole = bool(text) and reply.headers.get("x-lseg-legend-truncated") != "true"
    return Picture(reply.body, legend, whole, *_origin(reply))


def _report(reply: Reply) -> Report:
    return read_report(reply.body)


def _scores(reply: Reply) -> Scores:
    try:
        with np.load(io.BytesIO(reply.body), allow_pickle=False) as arrays:
            scores, labels, size = arrays["scores"], arrays["labels"], arrays["image_size"]
            height, width = map(int, size)
    except (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise BadAnswer(f"the response holds no scores: {error}") from error
    if scores.dtype != np.float16 or scores.ndim != 3 or labels.shape != scores.shape[:1]:
        raise BadAnswer(
            f"the response has scores of {scores.dtype} {list(scores.shape)} for labels {list(labels.shape)}"
        )
    return Scores(reply.body, scores, tuple(map(str, labels)), (height, width), *_origin(reply))


def _parts(reply: Reply) -> Parts:
    try:
        with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
            mask, overlay = archive.read("mask.png"), archive.read("overlay.png")
            names = {int(match[1]): name for name in archive.namelist() if (match := _CUTOUT.fullmatch(name))}
            cutouts = {index: archive.read(name) for index, name in names.items()}
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise BadAnswer(f"the response is no archive with a mask: {error}") from error
    return Parts(reply.body, read_mask(mask, *_origin(reply)), overlay, cutouts, *_origin(reply))


def _coco(reply: Reply) -> Document:
    document = _document(reply)
    match document.content:
        case {"images": [dict()], "annotations": list(), "categories": list()}:
            return document
    raise BadAnswer("the response is no COCO document of one image")


def _segments(reply: Reply) -> Document:
    document = _document(reply)
    if not isinstance(document.content, list):
        raise BadAnswer("the response is no list of labels with their masks")
    return document


def _document(reply: Reply) -> Document:
    try:
        return Document(json.loads(reply.body), reply.body, *_origin(reply))
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"the response is no JSON: {error}") from error


def _origin(reply: Reply) -> tuple[str, dict[str, float]]:
    """The device that computed a response, and the milliseconds of each stage."""
    durations = _DURATION.findall(reply.headers.get("server-timing", ""))
    return reply.headers.get("x-lseg-device", ""), {stage: float(value) for stage, value in durations}


_READERS: dict[str, Callable[[Reply], Answer]] = {
    "png": _mask,
    "color": _picture,
    "overlay": _picture,
    "json": _report,
    "npz": _scores,
    "zip": _parts,
    "hf": _segments,
    "coco": _coco,
}
FORMATS = tuple(_READERS)
