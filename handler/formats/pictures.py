"""Masks as pictures: palette PNG, colours, overlay, cut-outs."""

from __future__ import annotations

import colorsys
import functools
import io
import json
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from lseg_serve.segmenter import UNLABELLED

Pixels = npt.NDArray[np.uint8]

LEGEND_KEY = "legend"  # of the PNG's text chunk
_GOLDEN_RATIO = 0.618033988749895


@functools.cache
def palette() -> Pixels:
    """RGB of each label index, uint8 [256, 3]: neighbours far apart in hue, no two alike; unlabelled is black."""
    colours = []
    for index in range(UNLABELLED):
        hue = (0.58 + index * _GOLDEN_RATIO) % 1
        saturation = (0.62, 0.85, 0.42)[index // 9 % 3]
        value = (0.92, 0.70, 0.98, 0.52)[index // 27 % 4] - 0.0005 * index
        colours.append([round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, saturation, value)])
    table = np.array([*colours, [0, 0, 0]], dtype=np.uint8)
    table.flags.writeable = False
    return table


def hex_color(index: int) -> str:
    """The colour of a label index as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*palette()[index])


def legend(labels: Sequence[str]) -> list[dict[str, object]]:
    """Index, name and colour of every label, in their order."""
    return [{"index": index, "name": name, "color": hex_color(index)} for index, name in enumerate(labels)]


@functools.lru_cache(maxsize=64)
def _legend_json(labels: tuple[str, ...]) -> str:
    return json.dumps(legend(labels), ensure_ascii=False)


def mask_png(mask: Pixels, labels: Sequence[str]) -> bytes:
    """`mask` [H, W] as a palette PNG whose pixel values are the indices, with the legend as JSON in a text chunk."""
    image = Image.fromarray(mask).convert("L")
    image.putpalette(palette().tobytes())
    text = PngImagePlugin.PngInfo()
    text.add_itxt(LEGEND_KEY, _legend_json(tuple(labels)))
    buffer = io.BytesIO()
    # Runs of one value are all that a mask has to compress: several times faster, and a sixth larger.
    image.save(buffer, "PNG", pnginfo=text, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def rgb_png(pixels: Pixels) -> bytes:
    """`pixels` [H, W, 3] or [H, W, 4] as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def colored(mask: Pixels) -> Pixels:
    """`mask` [H, W] in the palette's colours: [H, W, 3]."""
    return palette()[mask]


def overlaid(image: Pixels, mask: Pixels, alpha: float) -> Pixels:
    """The colours over `image` [H, W, 3], `alpha` (0..1) of them; unlabelled pixels stay as they are."""
    blended = Image.blend(Image.fromarray(image), Image.fromarray(colored(mask)), alpha)
    blended.paste(Image.fromarray(image), mask=Image.fromarray(mask == UNLABELLED))
    return np.asarray(blended)
