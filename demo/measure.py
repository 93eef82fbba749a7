"""Intersection over union, from counts gathered over many images."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt


class Confusion:
    """How many pixels of each true class were given each label, over all images added."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), dtype=np.int64)  # [true, given]

    def add(self, truth: npt.NDArray[np.uint8], given: npt.NDArray[np.uint8]) -> None:
        """Count one image: `truth` and `given` hold class indices, [H, W] each."""
        classes = len(self.counts)
        pairs = truth.astype(np.int64).ravel() * classes + given.ravel()
        self.counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def iou(self) -> npt.NDArray[np.float64]:
        """Intersection over union of each class, 0..1; nan for a class that no image holds."""
        hit = np.diag(self.counts)
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - hit
        return np.where(self.counts.sum(axis=1) > 0, hit / np.maximum(union, 1), np.nan)

    def mean_iou(self) -> float:
        """The mean over the classes that occur, 0..1."""
        return float(np.nanmean(self.iou()))

    def accuracy(self) -> float:
        """Share of the pixels that were given their class, 0..1."""
        return float(np.trace(self.counts) / max(1, self.counts.sum()))


class Overlaps:
    """Intersections and unions of single labels, for images whose labels differ."""

    def __init__(self) -> None:
        self._hits: dict[str, int] = defaultdict(int)
        self._unions: dict[str, int] = defaultdict(int)

    def add(self, label: str, truth: npt.NDArray[np.bool_], given: npt.NDArray[np.bool_]) -> None:
        """Count one image's pixels [H, W] that are `label`, and those that were given it."""
        self._hits[label] += int(np.count_nonzero(truth & given))
        self._unions[label] += int(np.count_nonzero(truth | given))

    def iou(self) -> dict[str, float]:
        """Intersection over union of each label, 0..1, in the order of their first image."""
        return {label: self._hits[label] / max(1, union) for label, union in self._unions.items()}

    def mean_iou(self) -> float:
        """The mean over the labels, 0..1; nan without any."""
        values = list(self.iou().values())
        return float(np.mean(values)) if values else float("nan")
