"""lang-seg's multi-scale evaluation written a second time, from its description: whole maps, one window at a time.

Nothing here is shared with segmenter/; pixels of every step are held at full size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

Network = Callable[[Tensor], Tensor]  # [1, 3, crop, crop] -> logits [1, K, crop, crop]


def summed_scores(
    network: Network,
    image: npt.NDArray[np.uint8],
    *,
    scales: tuple[float, ...],
    flip: bool,
    crop_size: int,
    base_size: int,
    stride: int,
    resize: str,
) -> Tensor:
    """The sum of scores [K, H, W] for `image` [H, W, 3]."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    total = torch.zeros(())
    for scale in scales:
        size = _size(image.shape[0], image.shape[1], math.ceil(base_size * scale))
        scaled = _resize(pixels, size, resize)
        padded = _pad(scaled, crop_size)
        sums, counts = torch.zeros(()), torch.zeros(1, 1, *padded.shape[2:])
        for top in _starts(padded.shape[2], crop_size, stride):
            for left in _starts(padded.shape[3], crop_size, stride):
                window = padded[:, :, top : top + crop_size, left : left + crop_size]
                height, width = window.shape[2:]
                scores = network(_pad(window, crop_size))
                if flip:
                    scores = scores + network(_pad(window, crop_size).flip(3)).flip(3)
                whole = torch.zeros(1, scores.shape[1], *padded.shape[2:])
                whole[:, :, top : top + height, left : left + width] = scores[:, :, :height, :width]
                sums = sums + whole
                counts[:, :, top : top + height, left : left + width] += 1
        mean = (sums / counts)[:, :, : size[0], : size[1]]
        total = total + _resize(mean, (image.shape[0], image.shape[1]), resize)
    return total[0]


def _size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """In exact fractions, so that no rounding of the other implementation can be repeated here."""
    short = math.floor(Fraction(min(height, width) * long_side, max(height, width)) + Fraction(1, 2))
    return (long_side, short) if height > width else (short, long_side)


def _starts(side: int, crop_size: int, stride: int) -> list[int]:
    starts = [0]
    while starts[-1] + crop_size < side:
        starts.append(starts[-1] + stride)
    return starts


def _pad(pixels: Tensor, side: int) -> Tensor:
    below, right = max(0, side - pixels.shape[2]), max(0, side - pixels.shape[3])
    return F.pad(pixels, (0, right, 0, below), value=-1.0)


def _resize(x: Tensor, size: tuple[int, int], resize: str) -> Tensor:
    if resize == "nearest":
        return F.interpolate(x, size=size, mode="nearest")
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
