"""The format coco: one image's objects as a COCO document, which tools read as instances and as stuff."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lseg_serve.handler.formats.colors import palette
from lseg_serve.handler.formats.content import Content
from lseg_serve.handler.formats.outlines import check_edges, coco_rle_of_box
from lseg_serve.handler.formats.regions import Box, regions_of
from lseg_serve.handler.formats.runs import Runs
from lseg_serve.segmenter import Pixels, ResponseTooLargeError

# The values of the field `parts`: whether detached parts of a label are one object or several.
TOGETHER, APART = "together", "apart"
PARTS = (TOGETHER, APART)
# Each object needs a pass over its box; more would occupy a worker for minutes.
MAX_OBJECTS = 20_000
_IMAGE_ID = 1


def encode_coco(content: Content) -> bytes:
    """A COCO document in UTF-8: `images` with the one image, `annotations`, and `categories` with all labels.

    The id of a category is the index of its label and 1. A `segmentation` is COCO's compressed run-length encoding of
    the whole image. `score` is the mean softmax over all pixels of the label, also where its parts are apart. Parts
    that touch at a corner are one.

    Raises:
        ResponseTooLargeError: the mask is too fine, or has more than `MAX_OBJECTS` parts.
    """
    result = content.result
    mask = result.mask
    check_edges(mask, content.server.max_response_bytes)
    height, width = mask.shape
    annotations = [
        {
            "id": number,
            "image_id": _IMAGE_ID,
            "category_id": one.index + 1,
            "segmentation": one.segmentation,
            "area": one.area,
            "bbox": one.box,
            "iscrowd": 0,
            "score": None if result.mean_scores is None else round(float(result.mean_scores[one.index]), 6),
        }
        for number, one in enumerate(_objects(mask, len(result.labels), content.parts), 1)
    ]
    document = {
        "images": [{"id": _IMAGE_ID, "file_name": "image", "width": width, "height": height}],
        "annotations": annotations,
        "categories": _categories(result.labels),
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _categories(labels: Sequence[str]) -> list[dict[str, object]]:
    return [
        {"id": index + 1, "name": name, "supercategory": "", "isthing": 0, "color": palette()[index].tolist()}
        for index, name in enumerate(labels)
    ]


@dataclass(frozen=True)
class _Object:
    """What is one annotation."""

    index: int  # of its label
    area: int  # pixels
    box: Box
    segmentation: dict[str, object]


def _objects(mask: Pixels, count: int, parts: str) -> Iterator[_Object]:
    """The objects of `mask` [H, W], label by label."""
    runs = Runs.of(mask)
    found = 0
    for region in regions_of(runs, count):
        if region.box is None:
            continue
        if parts == TOGETHER:
            yield _Object(region.index, region.area, region.box, runs.coco_rle(region.index))
            continue
        left, top, width, height = region.box
        pixels = mask[top : top + height, left : left + width] == region.index
        number, labels, stats, _ = cv2.connectedComponentsWithStats(pixels.view(np.uint8), connectivity=8)
        found += number - 1
        if found > MAX_OBJECTS:
            raise ResponseTooLargeError(
                f"the mask has more than {MAX_OBJECTS} parts; accepted: fewer, or parts together", "parts"
            )
        for part, (x, y, width, height, area) in enumerate(stats[1:].tolist(), 1):
            own = labels[y : y + height, x : x + width] == part
            segmentation = coco_rle_of_box(own, left + x, top + y, *mask.shape)
            yield _Object(region.index, area, (left + x, top + y, width, height), segmentation)
