"""How sure the network is of each pixel's label: its softmax, for a threshold and for mean scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

UNLABELLED = 255


class Tally:
    """Judges the pixels of one mask, wherever they come from, and keeps their mean scores."""

    def __init__(
        self, count: int, *, threshold: float = 0.0, with_scores: bool = False, temperature: float = 1.0
    ) -> None:
        self.threshold = threshold
        self.with_scores = with_scores
        self.temperature = temperature
        self._sums, self._pixels = np.zeros(count), np.zeros(count)

    @property
    def needed(self) -> bool:
        """Whether any pixel's softmax is asked for."""
        return self.threshold > 0 or self.with_scores

    @property
    def mean_scores(self) -> npt.NDArray[np.float64] | None:
        """The mean softmax over each label's pixels, 0 if it has none: [K]; None where it was not asked for."""
        return self._sums / np.maximum(self._pixels, 1) if self.with_scores else None

    def judged(self, scores: Tensor, best: Tensor, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The `labels` [...] of pixels, those below the threshold turned to `UNLABELLED`.

        `scores` are float32 [K, ...] and are changed; `best` [...] are those of the labels.
        """
        confidence = softmax_at_zero(self.differences(scores, best), in_place=True).numpy()
        if self.threshold > 0:
            sure = confidence >= self.threshold
            self.add(labels[sure], confidence[sure])
            return np.where(sure, labels, np.uint8(UNLABELLED))
        self.add(labels.ravel(), confidence.ravel())
        return labels

    def differences(self, scores: Tensor, best: Tensor) -> Tensor:
        """`scores` [K, ...] less `best` [...], divided by the temperature, in place: a label's own becomes 0."""
        scores -= best
        return scores if self.temperature == 1 else scores.div_(self.temperature)

    def add(
        self,
        labels: npt.NDArray[np.integer[Any]],
        confidence: npt.NDArray[np.float32],
        pixels: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Count the `confidence` [N] of pixels with `labels` [N]; where `pixels` [N] are given, sums over so many."""
        if self.with_scores:
            labels = labels.astype(np.intp)  # once for both
            self._sums += np.bincount(labels, weights=confidence, minlength=len(self._sums))
            self._pixels += np.bincount(labels, weights=pixels, minlength=len(self._sums))


def softmax_at_zero(differences: Tensor, *, in_place: bool = False) -> Tensor:
    """The softmax [...] of the label whose score is 0 among `differences` [K, ...], which it is one of.

    `in_place` overwrites `differences`, and spares the memory and the time that it takes to get it.
    """
    return torch.exp(differences, out=differences if in_place else None).sum(dim=0).reciprocal_()
