"""Where the windows of accurate mode lie. The arithmetic of scales, sides and strides is lang-seg's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lseg_serve.segmenter.config import AccurateParams


@dataclass(frozen=True)
class Window:
    """The part of a scaled image that lies in one window, in pixels. The rest of the window is padding."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class ScalePlan:
    """An image's size at one scale, and the windows that cover it, row by row."""

    height: int
    width: int
    windows: tuple[Window, ...]


def plan_scales(height: int, width: int, params: AccurateParams) -> tuple[ScalePlan, ...]:
    """For an image of `height` x `width` pixels, the plan of each scale."""
    return tuple(_plan(height, width, scale, params) for scale in params.scales)


def scaled_size(height: int, width: int, base_size: int, scale: float) -> tuple[int, int]:
    """An image's height and width at a scale.

    The long side is ceil(base_size * scale). The short side is in proportion, and halves are rounded up. It is at
    least 1 pixel; lang-seg would fail on a side of 0.
    """
    long_side = math.ceil(base_size * scale)
    if height > width:
        return long_side, max(1, int(width * long_side / height + 0.5))
    return max(1, int(height * long_side / width + 0.5)), long_side


def _plan(height: int, width: int, scale: float, params: AccurateParams) -> ScalePlan:
    scaled_height, scaled_width = scaled_size(height, width, params.base_size, scale)
    windows = tuple(
        Window(top, left, min(params.crop_size, scaled_height - top), min(params.crop_size, scaled_width - left))
        for top in _starts(scaled_height, params)
        for left in _starts(scaled_width, params)
    )
    return ScalePlan(scaled_height, scaled_width, windows)


def _starts(side: int, params: AccurateParams) -> list[int]:
    """Where windows begin along a side: one every stride, until a window reaches the end of the side."""
    beyond_first = max(0, side - params.crop_size)
    return [index * params.stride for index in range(math.ceil(beyond_first / params.stride) + 1)]
