"""How kept scenes are shown to the network: whole as fast mode does, or through windows as accurate mode does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.demo.preset import WINDOW, half_resolution, smaller
from lseg_serve.segmenter import BLACK

Pixels = npt.NDArray[np.uint8]

# The truth of a score that lies beyond the scene, in the black padding of a window.
OUTSIDE = 255

# How far, in windows, a window may hang over the end of a scene that is longer than it.
_OVERHANG = 1 / 3


@dataclass(frozen=True)
class Showing:
    """How scenes are shown in a round of training."""

    scales: tuple[float, float]  # least and most of a scene's long side, in windows
    windows: float = 0.4  # share of the batches seen through windows, as accurate mode does; else whole
    # Shares of the scenes that are grey, or in other hues. Their questions name no colours, so that forms have to do.
    # These are shares of scenes and not of batches: a batch of one kind has its own statistics, which harms batch norm.
    grey: float = 0.0
    turned: float = 0.0


@dataclass(frozen=True)
class View:
    """Scenes as the network sees them.

    `pixels` float32 [B, 3, H, W] in -1..1; `classes` and `colours` uint8 [B, H/2, W/2] at the network's scores,
    `OUTSIDE` where a class lies beyond the scene.
    """

    pixels: Tensor
    classes: Pixels
    colours: Pixels


def whole(images: Pixels, classes: Pixels, colours: Pixels, *, coarse: bool) -> View:
    """The scenes uint8 [B, H, W, 3] at their bucket's size, or at two thirds of it where `coarse`."""
    pixels = _normalised(images)
    if not coarse:
        return View(pixels, classes, colours)
    size = (smaller(pixels.shape[2]), smaller(pixels.shape[3]))
    rows, columns = (_truth_places(side, side, 0, full) for side, full in zip(size, pixels.shape[2:], strict=True))
    return View(_resized(pixels, size), classes[:, rows[:, None], columns], colours[:, rows[:, None], columns])


def through_windows(
    images: Pixels,
    classes: Pixels,
    colours: Pixels,
    rng: np.random.Generator,
    *,
    coarse: bool,
    scales: tuple[float, float],
) -> View:
    """A window somewhere in each scene, all scenes at one random scale; two thirds of the size where `coarse`.

    `scales` are the least and the most of the scenes' long side, in windows.
    """
    height, width = images.shape[1:3]
    side = smaller(WINDOW) if coarse else WINDOW
    scale = side * math.exp(rng.uniform(math.log(scales[0]), math.log(scales[1]))) / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    scaled = _resized(_normalised(images), size)
    pixels = torch.full((len(images), 3, side, side), BLACK)
    shape = (len(images), side // 2, side // 2)
    seen_classes, seen_colours = np.full(shape, OUTSIDE, np.uint8), np.full(shape, OUTSIDE, np.uint8)
    for index in range(len(images)):
        top, left = (_start(rng, length, side) for length in size)
        part = scaled[index, :, top : top + side, left : left + side]
        pixels[index, :, : part.shape[1], : part.shape[2]] = part
        rows = _truth_places(side, size[0], top, height)
        columns = _truth_places(side, size[1], left, width)
        inside = np.ix_(rows >= 0, columns >= 0)
        taken = np.ix_(rows[rows >= 0], columns[columns >= 0])
        seen_classes[index][inside] = classes[index][taken]
        seen_colours[index][inside] = colours[index][taken]
    return View(pixels, seen_classes, seen_colours)


def _start(rng: np.random.Generator, length: int, side: int) -> int:
    """Where a window of `side` begins along `length` pixels; at the very beginning where it shows all of them."""
    return 0 if length <= side else int(rng.integers(length - side + int(side * _OVERHANG) + 1))


def _truth_places(side: int, length: int, start: int, full: int) -> npt.NDArray[np.int64]:
    """Which kept truth lies nearest to each score along an input of `side` pixels: int64 [side / 2], -1 outside.

    The input begins at pixel `start` of a scene scaled to `length` pixels, whose truth is kept for `full` pixels.
    """
    places = half_resolution(side).double() + start
    on_kept = (places + 0.5) * full / length - 0.5
    nearest = (on_kept * (full // 2 - 1) / (full - 1)).round().long().clamp(0, full // 2 - 1)
    found: npt.NDArray[np.int64] = torch.where(places < length, nearest, -1).numpy()
    return found


def _normalised(images: Pixels) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous()


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
