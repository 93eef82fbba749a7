"""From the network's scores to a mask at the image's own size, a strip of rows at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lseg_serve.segmenter.masks.blending import best_labels, blended_labels
from lseg_serve.segmenter.masks.cells import CellJudge, worth_cells
from lseg_serve.segmenter.masks.confidence import UNLABELLED, Tally
from lseg_serve.segmenter.masks.score_maps import (
    MOST_STRIP_ELEMENTS,
    DenseScoreMap,
    ResizedScoreMap,
    ScoreMap,
    resizing_steps,
    strips,
)
from lseg_serve.segmenter.preprocessing.buckets import Bucket

__all__ = ["UNLABELLED", "Mask", "bucket_logits", "make_mask", "mask_by_strips"]


@dataclass(frozen=True)
class Mask:
    """The label of each pixel. On request also how sure the network is of each label."""

    indices: npt.NDArray[np.uint8]  # [H, W]: index into the labels, 255 where unlabelled
    mean_scores: npt.NDArray[np.float64] | None  # [K]: mean softmax over the label's pixels; 0 if it has none


def bucket_logits(scores: Tensor, bucket: Bucket, height: int, width: int) -> ResizedScoreMap:
    """Logits [K, height, width] at the image's size, from the network's `scores` float32 [K, h, w].

    The scores have half the bucket's size. They are resized to the bucket with aligned corners, as lang-seg's last
    step does. From there they are resized to the image's size with aligned pixel centres, because that is how the
    image was resized to the bucket.
    """
    return ResizedScoreMap(
        ResizedScoreMap(DenseScoreMap(scores), bucket.height, bucket.width, "corners"), height, width, "centres"
    )


def make_mask(logits: ScoreMap, *, threshold: float = 0.0, with_scores: bool = False, temperature: float = 1.0) -> Mask:
    """The mask of `logits` [K, H, W]: each pixel gets the label with the highest logit.

    A pixel is unlabelled where that label's softmax is below `threshold` (0..1). The softmax is that of the logits
    divided by `temperature`, and is computed only for a threshold or mean scores.

    The labels come from `blended_labels`, which is faster for most masks, or else from the resized logits. The two
    round differently, so two nearly equal labels may change places. Which of the two is taken depends on `logits`
    alone: a threshold or mean scores change no label. `masks.cells` says how exact both are in a map that was enlarged.
    """
    tally = Tally(logits.shape[0], threshold=threshold, with_scores=with_scores, temperature=temperature)
    chain = resizing_steps(logits)
    judge = None
    if tally.needed and chain is not None and chain[1] and worth_cells(chain[1][-1]):
        judge = CellJudge(chain[1][-1], tally)
    labels = blended_labels(logits, judge=judge)
    if labels is not None and (judge is not None or not tally.needed):
        return Mask(labels, tally.mean_scores)
    return mask_by_strips(logits, labels, threshold=threshold, with_scores=with_scores, temperature=temperature)


def mask_by_strips(
    logits: ScoreMap,
    labels: npt.NDArray[np.uint8] | None = None,
    *,
    threshold: float = 0.0,
    with_scores: bool = False,
    temperature: float = 1.0,
    strip_elements: int = MOST_STRIP_ELEMENTS,
) -> Mask:
    """As `make_mask`, but every pixel's logits are resized, in strips of at most `strip_elements` elements.

    `labels` [H, W] are each pixel's label, where they are known already.
    """
    count, height, width = logits.shape
    indices = np.empty((height, width), dtype=np.uint8)
    tally = Tally(count, threshold=threshold, with_scores=with_scores, temperature=temperature)
    for top, strip in strips(logits, strip_elements):
        known = None if labels is None else labels[top : top + strip.shape[1]]
        best, chosen = best_labels(strip) if known is None else (_scores_of(known, strip), known)
        if tally.needed:
            chosen = tally.judged(strip, best, chosen)
        indices[top : top + len(chosen)] = chosen
    return Mask(indices, tally.mean_scores)


def _scores_of(labels: npt.NDArray[np.uint8], scores: Tensor) -> Tensor:
    """Of each pixel the score of its label: [H, W], from `labels` [H, W] and `scores` [K, H, W]."""
    return scores.gather(0, torch.from_numpy(labels.astype(np.int64))[None])[0]
