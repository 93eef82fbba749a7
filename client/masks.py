"""A mask with its legend, read from a palette PNG."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from lseg_serve.client.errors import BadAnswer

_UNLABELLED = 255


@dataclass(frozen=True)
class LegendEntry:
    """What a pixel value of a mask means."""

    index: int
    name: str
    color: str  # "#rrggbb"


@dataclass(frozen=True)
class Mask:
    """The answer of the format `png`."""

    png: bytes = field(repr=False)
    indices: npt.NDArray[np.uint8]  # [H, W], 255 where unlabelled
    legend: tuple[LegendEntry, ...]
    device: str = ""  # that computed it
    timings_ms: Mapping[str, float] = field(default_factory=dict)  # of each stage

    def share(self, entry: LegendEntry) -> float:
        """The share of pixels with this label."""
        return float(np.mean(self.indices == entry.index))


def read_mask(png: bytes, device: str = "", timings_ms: Mapping[str, float] | None = None) -> Mask:
    """A mask from the bytes of its PNG.

    Raises:
        BadAnswer: they are no PNG with one index for each pixel, or its legend cannot be understood.
    """
    with opened(png) as image:
        indices, text = np.asarray(image), image.info.get("legend")
    if indices.ndim != 2 or indices.dtype != np.uint8:
        raise BadAnswer("the response is a PNG, but not of one index for each pixel")
    if text is None:
        raise BadAnswer("the mask has no legend")
    return Mask(png, indices, read_legend(str(text)), device, timings_ms or {})


def opened(png: bytes) -> Image.Image:
    """The picture in a PNG, decoded.

    Raises:
        BadAnswer: the bytes are no PNG that can be read.
    """
    try:
        image = Image.open(io.BytesIO(png), formats=["PNG"])
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadAnswer(f"the response is no PNG that can be read: {error}") from error
    return image


def read_legend(text: str) -> tuple[LegendEntry, ...]:
    """The legend from its JSON.

    Raises:
        BadAnswer: it is no list of entries.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"the mask's legend is no JSON: {error}") from error
    if not isinstance(entries, list):
        raise BadAnswer(f"the mask's legend is {_shortened(entries)}; expected: a list")
    return tuple(_entry(entry) for entry in entries)


def _entry(entry: object) -> LegendEntry:
    match entry:
        case {"index": int(index), "name": str(name), "color": str(color)} if 0 <= index < _UNLABELLED:
            if not isinstance(index, bool) and re.fullmatch("#[0-9a-f]{6}", color):
                return LegendEntry(index, name, color)
    raise BadAnswer(
        f"the mask's legend has the entry {_shortened(entry)}; expected: an index from 0 to {_UNLABELLED - 1}, a name, "
        "and a color such as #00ff00"
    )


def _shortened(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:200]
