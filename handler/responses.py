"""A segmentation -> the answer in the format that was asked for."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from lseg_serve.handler.formats.pictures import colored, hex_color, legend, mask_png, overlaid, rgb_png
from lseg_serve.handler.formats.regions import coco_rle, find_regions, label_studio_rle, polygons
from lseg_serve.handler.request_model import Request
from lseg_serve.segmenter import UNLABELLED, ResponseTooLargeError, Segmentation, SegmenterError

Pixels = npt.NDArray[np.uint8]

# Proxies and clients commonly refuse headers beyond 8 kB in all.
_LEGEND_HEADER_BYTES = 7_000
# Everything printable in ASCII but '%': the header stays readable, and decodes with any percent-decoder.
_HEADER_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
# TorchServe kills the worker over an answer above its limit; headers and framing come on top of the body.
_FRAMING_BYTES = 64_000
# The least that one change of label along a row adds to an answer with outlines.
_BYTES_PER_EDGE = 2
# Pixels of all cut-outs together, so that one request cannot hold a worker for minutes.
_CUTOUT_PIXELS = 200_000_000


@dataclass(frozen=True)
class Served:
    """Facts about the server that go into answers."""

    model_name: str
    model_version: str
    device: str
    max_bytes: int


@dataclass(frozen=True)
class Answer:
    """The body of an HTTP answer and what describes it."""

    body: bytes
    content_type: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def make_answer(request: Request, image: Pixels, result: Segmentation, served: Served) -> Answer:
    """The answer to `request` on `image` [H, W, 3].

    Raises:
        ResponseTooLargeError: it would be too large for TorchServe to pass on.
    """
    content_type, encode = _ENCODERS[request.format]
    body = encode(request, image, result, served)
    if len(body) + _FRAMING_BYTES > served.max_bytes:
        raise ResponseTooLargeError(
            f"the answer has {len(body)} bytes as {request.format}; accepted: up to "
            f"{served.max_bytes - _FRAMING_BYTES} (max_response_size in config.properties, max_response_bytes in "
            "model-config.yaml); format png is the smallest",
            "format",
        )
    return Answer(body, content_type, headers=_headers(result, served))


def error_answer(error: SegmenterError) -> Answer:
    """The answer to a request that failed, which describes itself: gRPC passes no status on."""
    body: dict[str, Any] = {
        "error": {"code": int(error.status), "type": error.type, "message": error.message, "field": error.field}
    }
    return Answer(json.dumps(body).encode(), "application/json", int(error.status))


def _headers(result: Segmentation, served: Served) -> dict[str, str]:
    timings = ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in result.seconds.items())
    return {"X-LSeg-Device": served.device, "Server-Timing": timings, **_legend_headers(result.labels)}


@lru_cache(maxsize=64)
def _legend_headers(labels: tuple[str, ...]) -> dict[str, str]:
    """The legend as percent-encoded JSON: whole entries from the first on, as many as a header can hold."""
    entries: list[str] = []
    length = 2
    for entry in legend(labels):
        text = quote(json.dumps(entry, ensure_ascii=False, separators=(",", ":")), safe=_HEADER_SAFE)
        length += len(text) + 1
        if length > _LEGEND_HEADER_BYTES:
            return {"X-LSeg-Legend": f"[{','.join(entries)}]", "X-LSeg-Legend-Truncated": "true"}
        entries.append(text)
    return {"X-LSeg-Legend": f"[{','.join(entries)}]"}


def _png(request: Request, image: Pixels, result: Segmentation, served: Served) -> bytes:
    return mask_png(result.mask, result.labels)


def _color(request: Request, image: Pixels, result: Segmentation, served: Served) -> bytes:
    return rgb_png(colored(result.mask))


def _overlay(request: Request, image: Pixels, result: Segmentation, served: Served) -> bytes:
    return rgb_png(overlaid(image, result.mask, request.alpha))


def _npz(request: Request, image: Pixels, result: Segmentation, served: Served) -> bytes:
    """Scores [K, h, w] as float16, with their labels, loading without pickle; `Segmentation` says their size."""
    height, width = result.mask.shape
    buffer = io.BytesIO()
    np.savez(
        buffer,
        scores=result.scores.numpy().astype(np.float16),
        labels=np.array(result.labels, dtype=np.str_),
        image_size=np.array([height, width]),
    )
    return buffer.getvalue()


def _json(request: Request, image: Pixels, result: Segmentation, served: Served) -> bytes:
    height, width = result.mask.shape
    _check_edges(result.mask, served)
    unlabelled = int(np.count_nonzero(result.mask == UNLABELLED))
    answer = {
        "width": width,
        "height": height,
        "model": {"name": served.model_name, "version": served.model_version},
        "mode": result.mode,
        "device": served.device,
        "timings_ms": {stage: round(seconds * 1000, 1) for stage, seconds in result.seconds.items()},
        "labels": _label_entries(request, result),
        "unlabelled": {"area": unlabelled, "share": unlabelled / result.mask.size},
        "mask": base64.b64encode(mask_png(result.mask, result.labels)).decode("ascii"),
    }
    return json.dumps(answer, ensure_ascii=False).encode()


_GEOMETRY: dict[str, Callable[[npt.NDArray[np.bool_]], object]] = {
    "rle": coco_rle,
    "polygons": polygons,
    "label_studio": label_studio_rle,
}


def _label_entries(request: Request, result: Segmentation) -> list[dict[str, object]]:
    entries = []
    for region, name in zip(find_regions(result.mask, len(result.labels)), result.labels, strict=True):
        entry: dict[str, object] = {
            "index": region.index,
            "name": name,
            "color": hex_color(region.index),
            "area": region.area,
            "share": region.area / result.mask.size,
            "mean_score": None if result.mean_scores is None else round(float(result.mean_scores[region.index]), 6),
            "box": region.box,
        }
        outline = _GEOMETRY[request.geometry]
        entry[request.geometry] = outline(result.mask == region.index) if region.area else None
        entries.append(entry)
    return entries


def _check_edges(mask: Pixels, served: Served) -> None:
    """Refuse outlines so fine that the answer could not be sent, before they are drawn."""
    edges = int(np.count_nonzero(mask[:, 1:] != mask[:, :-1]))
    if edges * _BYTES_PER_EDGE > served.max_bytes:
        raise ResponseTooLargeError(
            f"the mask changes its label {edges} times along its rows, too often for outlines; use format png", "format"
        )


def _zip(request: Request, image: Pixels, result: Segmentation, served: Served) -> bytes:
    """The mask, its legend, the overlay, and for each present label its part of the image, transparent elsewhere."""
    regions = [region for region in find_regions(result.mask, len(result.labels)) if region.box is not None]
    pixels = sum(region.box[2] * region.box[3] for region in regions if region.box is not None)
    if pixels > _CUTOUT_PIXELS:
        raise ResponseTooLargeError(
            f"the cut-outs of {len(regions)} labels have {pixels} pixels; accepted: up to {_CUTOUT_PIXELS}", "format"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _store(archive, "mask.png", mask_png(result.mask, result.labels))
        _store(archive, "legend.json", json.dumps(legend(result.labels), ensure_ascii=False, indent=1).encode())
        _store(archive, "overlay.png", rgb_png(overlaid(image, result.mask, request.alpha)))
        for region in regions:
            assert region.box is not None
            left, top, width, height = region.box
            window = np.s_[top : top + height, left : left + width]
            shown = (result.mask[window] == region.index).astype(np.uint8) * 255
            cutout = rgb_png(np.dstack([image[window], shown]))
            _store(archive, f"cutouts/{region.index:03d}_{_file_name(result.labels[region.index])}.png", cutout)
    return buffer.getvalue()


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a file under a fixed date, so that the same mask gives the same bytes."""
    archive.writestr(zipfile.ZipInfo(name), content)


def _file_name(label: str) -> str:
    """`label` as a part of a file name that is safe on every system."""
    return re.sub(r"[^\w-]+", "_", label).strip("_")[:60] or "label"


_ENCODERS: dict[str, tuple[str, Callable[[Request, Pixels, Segmentation, Served], bytes]]] = {
    "png": ("image/png", _png),
    "color": ("image/png", _color),
    "overlay": ("image/png", _overlay),
    "json": ("application/json", _json),
    "npz": ("application/x-npz", _npz),
    "zip": ("application/zip", _zip),
}
