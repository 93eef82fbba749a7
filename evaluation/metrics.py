"""Confusion matrices and the figures made from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lseg_serve.evaluation.truth import IGNORED, Indices

Counts = npt.NDArray[np.int64]
Figures = npt.NDArray[np.float64]

_UNLABELLED = 255  # of a mask


def confusion_matrix(truth: Indices, mask: npt.NDArray[np.uint8], count: int) -> Counts:
    """How many pixels of each true label (row) have each label in `mask` (column): [count, count + 1].

    The last column holds pixels that the mask leaves unlabelled. Pixels that are IGNORED in `truth` count nowhere.
    """
    counted = truth != IGNORED
    columns = np.where(mask[counted] == _UNLABELLED, count, mask[counted]).astype(np.int64)
    cells = truth[counted].astype(np.int64) * (count + 1) + columns
    return np.bincount(cells, minlength=count * (count + 1)).reshape(count, count + 1)


@dataclass(frozen=True)
class Metrics:
    """The figures of one confusion matrix; shares from 0 to 1, 0 where there is nothing to divide by."""

    iou: Figures  # [K]: intersection over union
    accuracy: Figures  # [K]: share of the true pixels that were found
    precision: Figures  # [K]: share of the found pixels that are true
    true_pixels: Counts  # [K]
    found_pixels: Counts  # [K]
    pixel_accuracy: float
    mean_accuracy: float  # over the labels that are present
    mean_accuracy_all: float  # over all labels, an absent one counting 0
    miou_all: float  # over all labels, an absent one counting 0: ADE20K's official figure
    miou_present: float  # over the labels that occur in the ground truth
    frequency_weighted_iou: float

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """[K]: which labels occur in the ground truth."""
        return self.true_pixels > 0


def measure(confusion: Counts) -> Metrics:
    """The figures of a confusion matrix [K, K + 1] (see `confusion_matrix`)."""
    count = len(confusion)
    hits = confusion[:, :count].diagonal()
    true, found = confusion.sum(axis=1), confusion[:, :count].sum(axis=0)
    iou, accuracy = _share(hits, true + found - hits), _share(hits, true)
    present, total = true > 0, max(int(true.sum()), 1)
    return Metrics(
        iou=iou,
        accuracy=accuracy,
        precision=_share(hits, found),
        true_pixels=true,
        found_pixels=found,
        pixel_accuracy=float(hits.sum() / total),
        mean_accuracy=_mean(accuracy[present]),
        mean_accuracy_all=_mean(accuracy),
        miou_all=_mean(iou),
        miou_present=_mean(iou[present]),
        frequency_weighted_iou=float((iou * true).sum() / total),
    )


def _share(part: Counts, whole: Counts) -> Figures:
    return np.asarray(part / np.maximum(whole, 1), dtype=np.float64)


def _mean(values: Figures) -> float:
    return float(values.mean()) if len(values) else 0.0
