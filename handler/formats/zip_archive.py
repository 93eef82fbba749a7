"""The format zip: the mask, its legend, the overlay, and each label cut out of the image."""

from __future__ import annotations

import io
import json
import re
import zipfile

import cv2
import numpy as np

from lseg_serve.handler.formats.colors import legend
from lseg_serve.handler.formats.content import Content
from lseg_serve.handler.formats.png import encode_png, overlay_picture
from lseg_serve.handler.formats.png_bands import Picture, encode_pngs
from lseg_serve.handler.formats.regions import Box, find_regions
from lseg_serve.segmenter import Pixels, ResponseTooLargeError

# Of all cut-outs together: more would occupy a worker for minutes.
MAX_CUTOUT_PIXELS = 200_000_000


def encode_zip(content: Content) -> bytes:
    """A zip archive: mask.png, legend.json, overlay.png, and cutouts/ with a PNG for each label that is present.

    A cut-out is the box around its label, and transparent where the label is not.

    Raises:
        ResponseTooLargeError: the cut-outs would have more than `MAX_CUTOUT_PIXELS` pixels.
    """
    labels = content.result.labels
    boxes = {region.index: region.box for region in find_regions(content.result.mask, len(labels)) if region.box}
    _check_size(boxes)
    cutouts = [_cutout(content, index, box) for index, box in boxes.items()]
    overlay, *files = encode_pngs([overlay_picture(content), *cutouts])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "mask.png", encode_png(content))
        _add(archive, "legend.json", json.dumps(legend(labels), ensure_ascii=False, indent=1).encode())
        _add(archive, "overlay.png", overlay)
        for index, file in zip(boxes, files, strict=True):
            _add(archive, f"cutouts/{index:03d}_{_file_name(labels[index])}.png", file)
    return buffer.getvalue()


def _check_size(boxes: dict[int, Box]) -> None:
    pixels = sum(width * height for _, _, width, height in boxes.values())
    if pixels > MAX_CUTOUT_PIXELS:
        raise ResponseTooLargeError(
            f"the cut-outs of {len(boxes)} labels have {pixels} pixels; accepted: up to {MAX_CUTOUT_PIXELS}", "format"
        )


def _cutout(content: Content, index: int, box: Box) -> Picture:
    left, top, width, height = box
    window = np.s_[top : top + height, left : left + width]
    image, mask = content.image[window], content.result.mask[window]

    def rows(part: slice) -> Pixels:
        pixels = np.asarray(cv2.cvtColor(np.ascontiguousarray(image[part]), cv2.COLOR_RGB2RGBA))
        pixels[..., 3] = np.where(mask[part] == index, 255, 0)
        return pixels

    return Picture(height, width, 4, rows)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a file under a fixed date, so that the same mask gives the same bytes."""
    archive.writestr(zipfile.ZipInfo(name), content)


def _file_name(label: str) -> str:
    """`label` as a part of a file name that is safe on every system."""
    return re.sub(r"[^\w-]+", "_", label).strip("_")[:60] or "label"
