"""Scores of the network -> a mask at the image's own size, a strip of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from segmenter.buckets import Bucket

UNLABELLED = 255

# Elements of the score strip that is resized at once: 32 MB, or one row where that alone is more.
_STRIP_ELEMENTS = 8_000_000


@dataclass(frozen=True)
class Mask:
    """The label of every pixel and, where asked for, how sure the network is of each label."""

    indices: npt.NDArray[np.uint8]  # [H, W]: index into the labels, 255 where unlabelled
    mean_scores: npt.NDArray[np.float64] | None  # [K]: mean softmax over the label's pixels, 0 where it has none


def make_mask(
    scores: Tensor, bucket: Bucket, height: int, width: int, *, threshold: float = 0.0, with_scores: bool = False
) -> Mask:
    """The mask, `height` x `width` pixels, of `scores` float32 [K, h, w] (the network's, at half the bucket's size).

    Resized to the bucket with aligned corners, as lang-seg's last step does; from there to the image's size with pixel
    centres aligned, as the image came to the bucket; then the label with the highest score. A pixel whose softmax stays
    below `threshold` (0..1) is unlabelled. The softmax costs more than all the rest and is left out where nobody asks.
    """
    logits = F.interpolate(scores[None], size=(bucket.height, bucket.width), mode="bilinear", align_corners=True)[0]
    indices = np.empty((height, width), dtype=np.uint8)
    sums, counts = np.zeros(len(scores)), np.zeros(len(scores))
    for top, strip in _strips(logits, height, width):
        best, index = strip.max(dim=0)
        chosen = index.to(torch.uint8).numpy()
        if threshold > 0 or with_scores:
            confidence = torch.exp(best - torch.logsumexp(strip, dim=0)).numpy()
            sure = confidence >= threshold
            sums += np.bincount(chosen[sure], weights=confidence[sure], minlength=len(scores))
            counts += np.bincount(chosen[sure], minlength=len(scores))
            chosen = np.where(sure, chosen, UNLABELLED)
        indices[top : top + len(chosen)] = chosen
    return Mask(indices, sums / np.maximum(counts, 1) if with_scores else None)


def _strips(logits: Tensor, height: int, width: int) -> Iterator[tuple[int, Tensor]]:
    """`logits` [K, h, w] at `height` x `width` (bilinear, pixel centres aligned), as (first row, [K, rows, width])."""
    count, source_height, source_width = logits.shape
    if width < source_width:  # first, or a strip of a narrow image would have many rows at the width of the scores
        logits = F.interpolate(logits[None], size=(source_height, width), mode="bilinear", align_corners=False)[0]
        source_width = width
    rows = max(1, _STRIP_ELEMENTS // (count * width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        if source_height == height:
            strip = logits[:, top:bottom]
        else:
            centres = (torch.arange(top, bottom) + 0.5) * (source_height / height) - 0.5
            centres = centres.clamp(0, source_height - 1)
            upper = centres.floor().long()
            lower = (upper + 1).clamp(max=source_height - 1)
            strip = torch.lerp(logits[:, upper], logits[:, lower], (centres - upper)[:, None])
        if source_width != width:
            strip = F.interpolate(strip[None], size=(bottom - top, width), mode="bilinear", align_corners=False)[0]
        yield top, strip
