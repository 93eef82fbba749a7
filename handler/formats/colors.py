"""The colour of each label, and the legend that tells them."""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence

import numpy as np

from lseg_serve.segmenter import UNLABELLED, Pixels

_GOLDEN_RATIO = 0.618033988749895


@functools.cache
def palette() -> Pixels:
    """RGB of each label index, uint8 [256, 3], read-only.

    Neighbours are far apart in hue, and no two colours are alike. Unlabelled pixels (index 255) are black.
    """
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
