"""Labels of several words: what was computed of each word becomes that of its label.

A label's score at a pixel is the largest of its words'. So its pixels are those of its words, and the mask of the words
needs only another number in each pixel. The same holds for probabilities: the softmax is taken over all words, and a
label's probability at a pixel is the largest of its words', that of the word which the pixel was given.

    words      car  automobile  person         labels     car  person
    index       0       1         2                        0     1
    mask        0 0 1 1 2 255           ->     mask        0 0 0 0 1 255
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lseg_serve.segmenter.masks.confidence import UNLABELLED
from lseg_serve.segmenter.masks.mask import Mask


def merged_mask(mask: Mask, counts: Sequence[int]) -> Mask:
    """The mask of labels from the `mask` of their words, `counts` words for each label, one label's after the other.

    A label's mean score is the mean over its pixels, each with the softmax of the word that it was given.
    """
    label_of_word = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    table = np.full(UNLABELLED + 1, UNLABELLED, dtype=np.uint8)
    table[: len(label_of_word)] = label_of_word
    return Mask(table[mask.indices], _merged_means(mask, label_of_word, len(counts)))


def _merged_means(mask: Mask, label_of_word: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.float64] | None:
    if mask.mean_scores is None:
        return None
    areas = np.bincount(mask.indices.ravel(), minlength=UNLABELLED + 1)[: len(label_of_word)]
    sums = np.bincount(label_of_word, weights=mask.mean_scores * areas, minlength=count)
    return sums / np.maximum(np.bincount(label_of_word, weights=areas, minlength=count), 1)


def merged_scores(scores: Tensor, counts: Sequence[int]) -> Tensor:
    """The scores of labels, the largest of their words': float32 [K, h, w], from the words' `scores` [W, h, w]."""
    return torch.stack([own.amax(dim=0) for own in scores.split(list(counts))])
