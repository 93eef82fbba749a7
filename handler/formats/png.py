"""The formats png, color and overlay: a mask as a PNG of indices, of colours, or of colours over the image."""

from __future__ import annotations

import functools
import io
import json
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from lseg_serve.handler.formats.colors import legend, palette
from lseg_serve.handler.formats.content import Content
from lseg_serve.handler.formats.png_bands import Picture, encode_pngs
from lseg_serve.segmenter import UNLABELLED, Pixels

LEGEND_KEY = "legend"  # of the PNG's text chunk


def encode_png(content: Content) -> bytes:
    """The mask as a palette PNG: the value of a pixel is the index of its label."""
    return mask_png(content.result.mask, content.result.labels)


def encode_color(content: Content) -> bytes:
    """The mask as an RGB PNG, each label in its colour."""
    return encode_pngs([color_picture(content.result.mask)])[0]


def encode_overlay(content: Content) -> bytes:
    """The image with the colours of its labels over it, as an RGB PNG."""
    return encode_pngs([overlay_picture(content)])[0]


def color_picture(mask: Pixels) -> Picture:
    """`mask` [H, W] in the colours of its labels."""
    height, width = mask.shape
    return Picture(height, width, 3, lambda rows: colored(mask[rows]))


def overlay_picture(content: Content) -> Picture:
    """The image with the colours of its labels over it."""
    image, mask, alpha = content.image, content.result.mask, content.alpha
    height, width = mask.shape
    return Picture(height, width, 3, lambda rows: overlaid(image[rows], mask[rows], alpha))


def mask_png(mask: Pixels, labels: Sequence[str]) -> bytes:
    """`mask` [H, W] as a palette PNG whose pixel values are the indices, with the legend as JSON in a text chunk."""
    image = Image.fromarray(mask).convert("L")
    image.putpalette(palette().tobytes())
    text = PngImagePlugin.PngInfo()
    text.add_itxt(LEGEND_KEY, _legend_json(tuple(labels)))
    buffer = io.BytesIO()
    # A mask consists of runs of one value. To compress nothing else is several times faster, and a sixth larger.
    image.save(buffer, "PNG", pnginfo=text, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


@functools.lru_cache(maxsize=64)
def _legend_json(labels: tuple[str, ...]) -> str:
    return json.dumps(legend(labels), ensure_ascii=False)


def colored(mask: Pixels) -> Pixels:
    """`mask` [H, W] in the colours of its labels: RGB [H, W, 3]."""
    return np.asarray(cv2.applyColorMap(np.ascontiguousarray(mask), palette()[:, None]))


def overlaid(image: Pixels, mask: Pixels, alpha: float) -> Pixels:
    """`image` [H, W, 3] with the colours of `mask` [H, W] mixed in by `alpha` (0..1), but for unlabelled pixels."""
    blended = Image.blend(Image.fromarray(image), Image.fromarray(colored(mask)), alpha)
    mixed = np.array(blended)
    unlabelled = mask == UNLABELLED
    if unlabelled.any():
        mixed[unlabelled] = image[unlabelled]
    return mixed
