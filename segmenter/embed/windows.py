"""Embeddings from windows: of each, the share of every place that was asked for is added to one sum.

Accurate mode adds unit embeddings as it adds scores: the mean over the windows of a scale, resized to the image, summed
over scales and mirror images. The presets do what their names' projects do; docs/embeddings.md describes each.

Places are the pixels of a map, or points. Sums are of features, before the head (`segmenter.embed.head`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.embeddings.points import Points
from lseg_serve.embeddings.sampling import Floats, Places, Taps, corner_places, half_size_taps, neighbours
from lseg_serve.segmenter.config import AccurateParams
from lseg_serve.segmenter.embed.head import FeatureMap
from lseg_serve.segmenter.masks.accurate import Crop
from lseg_serve.segmenter.masks.score_maps import positions
from lseg_serve.segmenter.masks.windows import ScalePlan, Window, plan_scales, scaled_size

_FEATURES_AT_ONCE = 64  # of a window, at half size: 15 MB of float32


@dataclass(frozen=True)
class Geometry:
    """How places of an image lie in windows: as accurate mode resizes, or one pixel of the half size for each pixel."""

    mode: str  # accurate, openscene or vlmaps
    height: int
    width: int
    params: AccurateParams

    @property
    def plans(self) -> tuple[ScalePlan, ...]:
        """The windows of each scale."""
        return plan_scales(self.height, self.width, self.params)

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the map.

        In accurate mode it is half of scale 1, as the format npz has scores; vlmaps keeps the resized image's size,
        openscene the image's own.
        """
        if self.mode == "openscene":
            return self.height, self.width
        return scaled_size(self.height, self.width, self.params.base_size, 1.0 if self.mode == "vlmaps" else 0.5)

    def scaled(self, places: Places, axis: int, plan: ScalePlan) -> Places:
        """Where `places` of the image lie in the image at a scale."""
        source, target = (plan.height, plan.width)[axis], (self.height, self.width)[axis]
        if self.mode == "openscene":
            return np.clip(places, 0, target - 1)
        if self.params.resize == "nearest":
            pixels = np.rint(places).astype(np.int64).clip(0, target - 1)
            return np.asarray(positions(source, target, "nearest").numpy()[pixels], dtype=np.float64)
        return corner_places(np.clip(places, 0, target - 1), source, target)

    def scaled_map(self, axis: int, plan: ScalePlan) -> Places:
        """Where the map's pixels lie in the image at a scale."""
        source, target = (plan.height, plan.width)[axis], self.map_size[axis]
        if self.mode == "openscene":
            return np.arange(target, dtype=np.float64)
        if self.params.resize == "nearest":
            return np.asarray(positions(source, target, "nearest").numpy(), dtype=np.float64)
        return corner_places(np.arange(target), source, target)

    def taps(self, places: Places, axis: int, plan: ScalePlan, window: Window) -> Taps:
        """The pixels of a window at half size under `places` of its scale; weights of 0 for those outside of it."""
        crop = self.params.crop_size
        if self.mode == "openscene":  # the network saw twice the image's size
            pair = neighbours(places, crop // 2)
            third = np.minimum(pair.index[:, :1] + 2, crop // 2 - 1)
            return Taps(np.hstack([pair.index, third]), np.hstack([pair.weights, np.zeros_like(pair.weights[:, :1])]))
        length = (plan.height, plan.width)[axis]
        spans = {_span(one, axis) for one in plan.windows}
        pair = neighbours(places, length)
        covered = sum((_inside(pair.index, span) for span in spans), np.zeros(pair.index.shape, dtype=np.float32))
        span = _span(window, axis)
        weights = pair.weights * _inside(pair.index, span) / covered
        return half_size_taps(Taps((pair.index - span[0]).clip(0, crop - 1), weights), crop)


def _span(window: Window, axis: int) -> tuple[int, int]:
    """Where a window begins and ends along an axis."""
    start, extent = ((window.top, window.height), (window.left, window.width))[axis]
    return start, start + extent


def _inside(index: npt.NDArray[np.int64], span: tuple[int, int]) -> Floats:
    return ((index >= span[0]) & (index < span[1])).astype(np.float32)


class Sums(Protocol):
    """A sum that windows are added to."""

    def add(self, crop: Crop, found: FeatureMap) -> None:
        """Add one window; `found` is mirrored back where the crop was mirrored."""
        ...


class PointSums:
    """The sums at points: float32 [N, F+1], the last the sum of weights."""

    def __init__(self, geometry: Geometry, points: Points, features: int) -> None:
        self._geometry, self._points, self._plans = geometry, points, geometry.plans
        self.sums = np.zeros((len(points), features + 1), dtype=np.float32)

    def add(self, crop: Crop, found: FeatureMap) -> None:
        """See `Sums`."""
        geometry, plan = self._geometry, self._plans[crop.scale]
        window = plan.windows[crop.window]
        columns, rows = (
            geometry.taps(geometry.scaled(self._points[:, 1 - axis], axis, plan), axis, plan, window) for axis in (1, 0)
        )
        within = rows.weights.any(axis=1) & columns.weights.any(axis=1)
        if within.any():
            own = [Taps(taps.index[within], taps.weights[within]) for taps in (rows, columns)]
            self.sums[within] += found.sums(*own)


class MapSums:
    """The sums of a whole map: float32 [F+1, H, W], the last the sum of weights."""

    def __init__(self, geometry: Geometry, features: int) -> None:
        self._geometry, self._plans = geometry, geometry.plans
        self.sums = torch.zeros(features + 1, *geometry.map_size)

    def add(self, crop: Crop, found: FeatureMap) -> None:
        """See `Sums`."""
        plan = self._plans[crop.scale]
        (top, down), (left, across) = (self._matrix(axis, plan, plan.windows[crop.window]) for axis in (0, 1))
        if not down.numel() or not across.numel():
            return
        rows, columns = slice(top, top + len(down)), slice(left, left + len(across))
        half = found.inverse_lengths
        ones = torch.ones(1, *found.features.shape[1:])
        for start, part in _parts(torch.cat([found.features, ones])):
            doubled = F.interpolate(part[None], size=half.shape, mode="bilinear", align_corners=True)[0].mul_(half)
            self.sums[start : start + len(part), rows, columns] += down @ (doubled @ across.T)

    def _matrix(self, axis: int, plan: ScalePlan, window: Window) -> tuple[int, Tensor]:
        """The first place along an axis that a window has a share of, and the shares of it and the next: [N, 2h]."""
        taps = self._geometry.taps(self._geometry.scaled_map(axis, plan), axis, plan, window)
        touched = np.flatnonzero(taps.weights.any(axis=1))
        if not len(touched):
            return 0, torch.zeros(0, 0)
        first, last = int(touched[0]), int(touched[-1]) + 1
        shares = torch.zeros(last - first, self._geometry.params.crop_size // 2)
        index, weights = torch.from_numpy(taps.index[first:last]), torch.from_numpy(taps.weights[first:last])
        return first, shares.scatter_add_(1, index, weights)


def _parts(features: Tensor) -> Sequence[tuple[int, Tensor]]:
    return [
        (start, features[start : start + _FEATURES_AT_ONCE]) for start in range(0, len(features), _FEATURES_AT_ONCE)
    ]
