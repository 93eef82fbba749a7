"""The format json: what the mask says of each label, in numbers and outlines, with the mask itself as base64."""

from __future__ import annotations

import base64
import json

import numpy as np

from lseg_serve.handler.formats.colors import hex_color
from lseg_serve.handler.formats.content import Content
from lseg_serve.handler.formats.outlines import check_edges, outline
from lseg_serve.handler.formats.png import encode_png
from lseg_serve.handler.formats.regions import Region, regions_of
from lseg_serve.handler.formats.runs import Runs
from lseg_serve.segmenter import UNLABELLED


def encode_json(content: Content) -> bytes:
    """A JSON object in UTF-8: size, model, mode, device, timings, an entry for each label, and the mask.

    Raises:
        ResponseTooLargeError: the outlines are so fine that TorchServe could not pass them on.
    """
    result, server = content.result, content.server
    check_edges(result.mask, server.max_response_bytes)
    height, width = result.mask.shape
    unlabelled = int(np.count_nonzero(result.mask == UNLABELLED))
    runs = Runs.of(result.mask)
    document = {
        "width": width,
        "height": height,
        "model": {"name": server.model_name, "version": server.model_version},
        "mode": result.mode,
        "device": server.device,
        **_timings(content),
        "labels": [_label_entry(content, runs, region) for region in regions_of(runs, len(result.labels))],
        "unlabelled": {"area": unlabelled, "share": unlabelled / result.mask.size},
        "mask": base64.b64encode(encode_png(content)).decode("ascii"),
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _timings(content: Content) -> dict[str, object]:
    if not content.server.timings:
        return {}
    return {"timings_ms": {stage: round(seconds * 1000, 1) for stage, seconds in content.result.seconds.items()}}


def _label_entry(content: Content, runs: Runs, region: Region) -> dict[str, object]:
    result, index = content.result, region.index
    return {
        "index": index,
        "name": result.labels[index],
        "color": hex_color(index),
        "area": region.area,
        "share": region.area / result.mask.size,
        "mean_score": None if result.mean_scores is None else round(float(result.mean_scores[index]), 6),
        "box": region.box,
        content.geometry: outline(result.mask, runs, index, content.geometry, content.tolerance)
        if region.area
        else None,
    }
