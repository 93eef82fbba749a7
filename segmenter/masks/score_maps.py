"""Score maps that are computed a few rows at a time.

A map of all labels at an image's size can take gigabytes. So it never exists as a whole: whoever reads it asks for a
few rows, which are computed then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

# How a map is resized: bilinear with the pixels' centres aligned (torch's `align_corners=False`), bilinear with the
# corner pixels aligned (`align_corners=True`), or by the nearest pixel (`mode="nearest"`).
Rule = Literal["centres", "corners", "nearest"]

# A strip has this many float32 elements, 4 MB, because these stay in the processor's cache. Where that is only a few
# rows, it has 8 rows instead, as long as these have no more elements than the second number: 32 MB.
_STRIP_ELEMENTS, MOST_STRIP_ELEMENTS = 1_000_000, 8_000_000
_LEAST_STRIP_ROWS = 8
# A narrow map may be resized from a wider one, whose rows need memory as well. So a row counts as at least this wide.
_LEAST_STRIP_WIDTH = 1024


class ScoreMap(Protocol):
    """A score map [K, H, W] that gives any of its rows."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """K, H, W."""
        ...

    def rows(self, index: Tensor) -> Tensor:
        """The rows `index` int64 [N]: float32 [K, N, W]."""
        ...


@dataclass(frozen=True)
class DenseScoreMap:
    """A score map that is held whole: float32 [K, H, W]."""

    scores: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """K, H, W."""
        count, height, width = self.scores.shape
        return count, height, width

    def rows(self, index: Tensor) -> Tensor:
        """The rows `index`, copied."""
        return self.scores[:, index]


@dataclass(frozen=True)
class ImageScoreMap:
    """The pixels of an RGB image, uint8 [H, W, 3], as a map of 3 channels from -1 to 1, to resize it as scores are."""

    image: npt.NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int, int]:
        """3, H, W."""
        return 3, self.image.shape[0], self.image.shape[1]

    def rows(self, index: Tensor) -> Tensor:
        """The rows `index`, scaled to -1..1 for the network."""
        return torch.from_numpy(self.image[index.numpy()]).permute(2, 0, 1).float().div_(127.5).sub_(1)


@dataclass(frozen=True)
class ResizedScoreMap:
    """`source`, resized to `height` x `width`."""

    source: ScoreMap
    height: int
    width: int
    rule: Rule

    @property
    def shape(self) -> tuple[int, int, int]:
        """K, H, W."""
        return self.source.shape[0], self.height, self.width

    def rows(self, index: Tensor) -> Tensor:
        """The rows `index`, each made from the one or two nearest rows of the source.

        Rows and columns can be resized in either order. A map that gets narrower has its columns resized first. The
        other order can be very slow: an image 1 pixel wide took minutes, because a few wide rows were blended into
        tens of thousands of wide rows, of which one column was kept.
        """
        _, source_height, source_width = self.source.shape
        if (source_height, source_width) == (self.height, self.width):
            return self.source.rows(index)
        where = positions(source_height, self.height, self.rule)[index]
        upper = where.long()
        weight = (where - upper).float()
        lower = torch.where(weight > 0, upper + 1, upper)
        needed, place = torch.unique(torch.stack([upper, lower]), return_inverse=True)
        rows = self.source.rows(needed)
        narrower = self.width < source_width
        if narrower:
            rows = self._across(rows)
        blended = torch.lerp(rows[:, place[0]], rows[:, place[1]], weight[:, None])
        return blended if narrower else self._across(blended)

    def _across(self, rows: Tensor) -> Tensor:
        """`rows` [K, N, w], resized to the target's width."""
        return rows if rows.shape[-1] == self.width else _interpolated(rows, self.width, self.rule)


@dataclass(frozen=True)
class SummedScoreMap:
    """The sum of score maps of the same shape."""

    maps: Sequence[ScoreMap]

    @property
    def shape(self) -> tuple[int, int, int]:
        """K, H, W."""
        return self.maps[0].shape

    def rows(self, index: Tensor) -> Tensor:
        """The sum of the rows `index` of all maps."""
        total = self.maps[0].rows(index)
        for one in self.maps[1:]:
            total += one.rows(index)
        return total


def resizing_steps(scores: ScoreMap) -> tuple[DenseScoreMap, list[ResizedScoreMap]] | None:
    """The map that `scores` was resized from, and the steps that changed its size; None where it was never resized."""
    steps: list[ResizedScoreMap] = []
    while isinstance(scores, ResizedScoreMap):
        steps.append(scores)
        scores = scores.source
    if not steps or not isinstance(scores, DenseScoreMap):
        return None
    return scores, [step for step in reversed(steps) if step.source.shape != step.shape]


def strips(scores: ScoreMap, most_elements: int = MOST_STRIP_ELEMENTS) -> Iterator[tuple[int, Tensor]]:
    """The whole map from top to bottom, as pairs (first row, strip [K, rows, W]).

    A strip has at most `most_elements` elements, but always one row.
    """
    count, height, width = scores.shape
    elements = count * max(width, _LEAST_STRIP_WIDTH)  # of a row
    rows = max(1, min(max(_LEAST_STRIP_ROWS, _STRIP_ELEMENTS // elements), most_elements // elements))
    for top in range(0, height, rows):
        yield top, scores.rows(torch.arange(top, min(top + rows, height)))


def assembled(scores: ScoreMap) -> Tensor:
    """The whole map: float32 [K, H, W]."""
    return torch.cat([strip for _, strip in strips(scores)], dim=1)


def positions(source: int, target: int, rule: Rule) -> Tensor:
    """Where each of `target` rows lies among `source` rows: [target].

    torch resizes the row numbers themselves, so that its own arithmetic is followed.
    """
    if rule == "nearest":  # torch resizes scores in float32, so the row numbers are float32 here to be rounded alike
        return _interpolated(torch.arange(source, dtype=torch.float32)[None, None], target, rule)[0, 0]
    return _interpolated(torch.arange(source, dtype=torch.float64)[None, None], target, rule)[0, 0]


def _interpolated(lines: Tensor, length: int, rule: Rule) -> Tensor:
    """`lines` [K, N, W] -> [K, N, length], resized."""
    if rule == "nearest":
        return F.interpolate(lines, size=length, mode="nearest")
    return F.interpolate(lines, size=length, mode="linear", align_corners=rule == "corners")
