"""The format hf: what Hugging Face's image segmentation answers, so that its `InferenceClient` reads it."""

from __future__ import annotations

import base64
import io
import json
import zlib

import numpy as np
from PIL import Image

from lseg_serve.handler.formats.content import Content
from lseg_serve.segmenter import Pixels, ResponseTooLargeError

# Of all masks together: more would occupy a worker for minutes.
MAX_MASK_PIXELS = 200_000_000


def encode_hf(content: Content) -> bytes:
    """A JSON list with `label`, `score` and `mask` of each label that is present, in the order of the labels.

    `score` is the mean softmax over the label's pixels. `mask` is a PNG in base64, of the image's size, with one
    channel that is 255 where the label is and 0 elsewhere.

    Raises:
        ResponseTooLargeError: the masks would have more than `MAX_MASK_PIXELS` pixels.
    """
    mask, result = content.result.mask, content.result
    present = [index for index in np.unique(mask).tolist() if index < len(result.labels)]
    pixels = len(present) * mask.size
    if pixels > MAX_MASK_PIXELS:
        raise ResponseTooLargeError(
            f"the masks of {len(present)} labels have {pixels} pixels; accepted: up to {MAX_MASK_PIXELS}", "format"
        )
    entries = [
        {
            "label": result.labels[index],
            "score": None if result.mean_scores is None else round(float(result.mean_scores[index]), 6),
            "mask": _png((mask == index).astype(np.uint8) * 255),
        }
        for index in present
    ]
    return json.dumps(entries, ensure_ascii=False).encode()


def _png(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
