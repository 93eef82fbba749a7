"""The formats of a response. To add one: write a file with its encoder here, and name it in `FORMAT_BY_NAME`.

`FORMAT_BY_NAME` is the only list of what is made of a mask: what a request may ask for, what an `Accept` header selects
and the content type of the response are all taken from it. Embeddings are made of no mask, and have a list of their
own files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lseg_serve.handler.formats.coco_document import PARTS, encode_coco
from lseg_serve.handler.formats.content import Content
from lseg_serve.handler.formats.embeddings import EMBEDDINGS, TYPE_OF_CONTAINER
from lseg_serve.handler.formats.hugging_face import encode_hf
from lseg_serve.handler.formats.json_document import encode_json
from lseg_serve.handler.formats.npz import encode_npz
from lseg_serve.handler.formats.outlines import GEOMETRIES
from lseg_serve.handler.formats.png import encode_color, encode_overlay, encode_png
from lseg_serve.handler.formats.zip_archive import encode_zip

__all__ = [
    "CONTAINERS",
    "CONTAINER_OF_MEDIA_TYPE",
    "FORMATS",
    "FORMAT_BY_NAME",
    "FORMAT_OF_MEDIA_TYPE",
    "GEOMETRIES",
    "PARTS",
    "Format",
]


@dataclass(frozen=True)
class Format:
    """One format: the content type of its responses, what writes their bodies, and what it needs beside the mask."""

    content_type: str
    encode: Callable[[Content], bytes]
    mean_scores: bool = False  # the mean softmax over each label's pixels
    score_map: bool = False  # the scores themselves


FORMAT_BY_NAME = {
    "png": Format("image/png", encode_png),
    "color": Format("image/png", encode_color),
    "overlay": Format("image/png", encode_overlay),
    "json": Format("application/json", encode_json, mean_scores=True),
    "npz": Format("application/x-npz", encode_npz, score_map=True),
    "zip": Format("application/zip", encode_zip),
    "hf": Format("application/json", encode_hf, mean_scores=True),
    "coco": Format("application/json", encode_coco, mean_scores=True),
}

# The values of the request's fields `format` and `container`.
FORMATS = (*FORMAT_BY_NAME, EMBEDDINGS)
CONTAINERS = tuple(TYPE_OF_CONTAINER)

# What an `Accept` header selects. Where formats share a content type, the first of them has it.
FORMAT_OF_MEDIA_TYPE = {
    TYPE_OF_CONTAINER["safetensors"]: EMBEDDINGS,
    **{response_format.content_type: name for name, response_format in reversed(FORMAT_BY_NAME.items())},
    "image/*": "png",
    "*/*": "png",
}

# Of embeddings, once they are asked for.
CONTAINER_OF_MEDIA_TYPE: dict[str, str] = {media_type: name for name, media_type in TYPE_OF_CONTAINER.items()}
