"""Accurate mode: lang-seg's published evaluation, with several scales, mirror images and a sliding window.

The image is resized to each scale and cut into windows. Each window goes through the network, as it is and mirrored.
The scores of all of them are merged into one score map.

lang-seg merges whole maps of all labels at the image's size. For 24 megapixels and 150 labels they take 14 GB. Here the
scores of each window stay at the network's own resolution, which has a quarter of the window's pixels. Rows of the sum
are computed from them when a caller needs these rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lseg_serve.segmenter.config import AccurateParams
from lseg_serve.segmenter.masks.score_maps import (
    DenseScoreMap,
    ImageScoreMap,
    ResizedScoreMap,
    Rule,
    ScoreMap,
    SummedScoreMap,
    assembled,
)
from lseg_serve.segmenter.masks.windows import ScalePlan, Window, plan_scales, scaled_size
from lseg_serve.segmenter.preprocessing.buckets import BLACK


@dataclass(frozen=True)
class Crop:
    """One input of the network: one window of one image at one scale, mirrored or not."""

    image: int  # index into the images
    scale: int  # index into the scales
    window: int  # index into the windows of that scale
    mirrored: bool
    pixels: Tensor  # float32 [3, crop_size, crop_size], -1..1


@dataclass(frozen=True)
class WindowedScores:
    """The score map of one scale, at the scaled image's size.

    A pixel's scores are the mean over the windows that cover it.
    """

    plan: ScalePlan
    crop_size: int
    scores: Sequence[Tensor]  # one for each window: float32 [K, h, w], at half the window's size

    @property
    def shape(self) -> tuple[int, int, int]:
        """K, H, W."""
        return self.scores[0].shape[0], self.plan.height, self.plan.width

    def rows(self, index: Tensor) -> Tensor:
        """The rows `index`.

        Each window's scores are doubled in size with aligned corners, as the network's last step does.
        """
        total = torch.zeros(self.shape[0], len(index), self.plan.width)
        counts = torch.zeros(len(index), self.plan.width)
        for window, scores in zip(self.plan.windows, self.scores, strict=True):
            inside = (index >= window.top) & (index < window.top + window.height)
            if not inside.any():
                continue
            columns = slice(window.left, window.left + window.width)
            doubled = ResizedScoreMap(DenseScoreMap(scores), self.crop_size, self.crop_size, "corners")
            total[:, inside, columns] += doubled.rows(index[inside] - window.top)[:, :, : window.width]
            counts[inside, columns] += 1
        return total.div_(counts)


class ScoreCollector:
    """Collects the scores of one image's crops, and gives its score map once `missing` is 0."""

    def __init__(self, height: int, width: int, params: AccurateParams) -> None:
        self._size = (height, width)
        self._params = params
        self._plans = plan_scales(height, width, params)
        self._scores: list[list[Tensor | None]] = [[None] * len(plan.windows) for plan in self._plans]
        self.missing = sum(len(plan.windows) for plan in self._plans) * params.passes

    def add(self, crop: Crop, scores: Tensor) -> None:
        """Take the `scores` float32 [K, h, w] of one crop.

        A mirrored crop's scores are mirrored back here. They are doubled in size later; the order does not matter.
        """
        if crop.mirrored:
            scores = scores.flip(-1)
        windows = self._scores[crop.scale]
        before = windows[crop.window]
        windows[crop.window] = scores if before is None else before.add_(scores)
        self.missing -= 1

    def sum_at(self, height: int, width: int) -> ScoreMap:
        """The sum over scales and mirror images, resized to [K, height, width]."""
        rule: Rule = "corners" if self._params.resize == "bilinear" else "nearest"
        scales = []
        for plan, windows in zip(self._plans, self._scores, strict=True):
            complete = [scores for scores in windows if scores is not None]
            scales.append(ResizedScoreMap(WindowedScores(plan, self._params.crop_size, complete), height, width, rule))
        return SummedScoreMap(scales)

    def sum(self) -> ScoreMap:
        """The sum over scales and mirror images at the image's own size, as lang-seg's evaluation returns it."""
        return self.sum_at(*self._size)

    def overview(self) -> Tensor:
        """The mean over scales and mirror images at half the size of scale 1: float32 [K, h, w]."""
        height, width = scaled_size(*self._size, self._params.base_size, 0.5)
        return assembled(self.sum_at(height, width)).div_(self._params.divisor)


def make_crops(images: Sequence[npt.NDArray[np.uint8]], params: AccurateParams) -> Iterator[Crop]:
    """All crops of `images` [H, W, 3], one image after the other."""
    rule: Rule = "corners" if params.resize == "bilinear" else "nearest"
    for image_index, image in enumerate(images):
        height, width = image.shape[:2]
        for scale_index, plan in enumerate(plan_scales(height, width, params)):
            scaled = assembled(ResizedScoreMap(ImageScoreMap(image), plan.height, plan.width, rule))
            for window_index, window in enumerate(plan.windows):
                pixels = _cut(scaled, window, params.crop_size)
                yield Crop(image_index, scale_index, window_index, False, pixels)
                if params.flip:
                    yield Crop(image_index, scale_index, window_index, True, pixels.flip(-1))


def _cut(scaled: Tensor, window: Window, crop_size: int) -> Tensor:
    """The pixels of one window of `scaled` [3, H, W], padded with black to the right and below."""
    pixels = torch.full((3, crop_size, crop_size), BLACK)
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    pixels[:, : window.height, : window.width] = scaled[:, rows, columns]
    return pixels
