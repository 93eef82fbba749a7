"""The outline of a region, as COCO, GeoJSON or Label Studio read it: the values of the field `geometry`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from lseg_serve.handler.formats.label_studio import label_studio_rle
from lseg_serve.handler.formats.polygons import polygons
from lseg_serve.handler.formats.runs import Runs
from lseg_serve.segmenter import Pixels, ResponseTooLargeError

Bits = npt.NDArray[np.bool_]

GEOMETRIES = ("rle", "polygons", "label_studio")
# The least that one change of label along a row adds to a response with outlines.
_BYTES_PER_EDGE = 2


def outline(mask: Pixels, runs: Runs, index: int, geometry: str, tolerance: float) -> object:
    """The outline of one label of `mask` [H, W] in one of `GEOMETRIES`; `tolerance`, in pixels, is that of polygons."""
    match geometry:
        case "polygons":
            return polygons(mask == index, tolerance)
        case "label_studio":
            return label_studio_rle(mask == index)
    return runs.coco_rle(index)  # as of the mask's pixels, which need not be looked at for each label


def coco_rle(pixels: Bits) -> dict[str, object]:
    """`pixels` [H, W] as COCO's compressed run-length encoding."""
    encoded = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def coco_rle_of_box(pixels: Bits, left: int, top: int, height: int, width: int) -> dict[str, object]:
    """The same of an image with `height` and `width`, in which `pixels` [h, w] lie at `left` and `top`, without it."""
    # COCO counts down the columns, from the left one on. A run begins and ends where its column changes.
    columns, rows = np.nonzero(np.diff(np.pad(pixels.T, ((0, 0), (1, 1))), axis=1))
    changes = (left + columns) * height + top + rows
    # A run that goes on in the next column ends where another begins.
    goes_on = changes[1:] == changes[:-1]
    changes = changes[~(np.append(goes_on, False) | np.append(False, goes_on))]
    counts = np.diff(changes, prepend=0, append=height * width)
    counts = counts[: len(counts) - (counts[-1] == 0)]
    encoded = coco.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": encoded["counts"].decode("ascii")}


def check_edges(mask: Pixels, max_bytes: int) -> None:
    """Refuse outlines that are too fine for a response of `max_bytes`, before time is spent on them.

    Raises:
        ResponseTooLargeError: the labels of `mask` [H, W] change too often along its rows.
    """
    edges = int(np.count_nonzero(mask[:, 1:] != mask[:, :-1]))
    if edges * _BYTES_PER_EDGE > max_bytes:
        raise ResponseTooLargeError(
            f"the mask changes its label {edges} times along its rows, too often for outlines; use format png", "format"
        )
