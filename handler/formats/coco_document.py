"""The format coco: one image's objects as a COCO document, which tools read as instances and as stuff."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from lseg_serve.handler.formats.colors import palette
from lseg_serve.handler.formats.content import Content
from lseg_serve.handler.formats.outlines import check_edges, coco_rle_of_box
from lseg_serve.handler.formats.regions import find_regions
from lseg_serve.segmenter import Pixels, ResponseTooLargeError

Bits = npt.NDArray[np.bool_]

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
    annotations: list[dict[str, object]] = []
    for index, left, top, pixels in _objects(mask, len(result.labels), content.parts):
        score = None if result.mean_scores is None else round(float(result.mean_scores[index]), 6)
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": _IMAGE_ID,
                "category_id": index + 1,
                "segmentation": coco_rle_of_box(pixels, left, top, height, width),
                "area": int(np.count_nonzero(pixels)),
                "bbox": [left, top, pixels.shape[1], pixels.shape[0]],
                "iscrowd": 0,
                "score": score,
            }
        )
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


def _objects(mask: Pixels, count: int, parts: str) -> Iterator[tuple[int, int, int, Bits]]:
    """Label, left and top of each object, and which pixels of its box are its own: [height, width]."""
    found = 0
    for region in find_regions(mask, count):
        if region.box is None:
            continue
        left, top, width, height = region.box
        pixels = mask[top : top + height, left : left + width] == region.index
        if parts == TOGETHER:
            yield region.index, left, top, pixels
            continue
        number, labels, boxes, _ = cv2.connectedComponentsWithStats(pixels.view(np.uint8), connectivity=8)
        found += number - 1
        if found > MAX_OBJECTS:
            raise ResponseTooLargeError(
                f"the mask has more than {MAX_OBJECTS} parts; accepted: fewer, or parts together", "parts"
            )
        for part in range(1, number):
            x, y, part_width, part_height = boxes[part, :4].tolist()
            yield region.index, left + x, top + y, labels[y : y + part_height, x : x + part_width] == part
