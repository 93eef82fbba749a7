"""What goes into the segmenter and what comes out: jobs, results, and the state of a job on its way."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lseg_serve.segmenter.masks.mask import Mask, make_mask
from lseg_serve.segmenter.masks.score_maps import ScoreMap
from lseg_serve.segmenter.preprocessing.buckets import Bucket

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Job:
    """One image to segment."""

    image: Pixels  # [H, W, 3], RGB
    labels: tuple[str, ...] | None = None  # None: the label set exported with the model
    threshold: float = 0.0
    with_scores: bool = False  # mean score of each label
    mode: str = "fast"


@dataclass(frozen=True)
class Segmentation:
    """One image, segmented."""

    labels: tuple[str, ...]
    mask: Pixels  # [H, W]: index into labels, 255 where unlabelled
    bucket: Bucket  # the size at which the network saw the image, or each window of it
    # float32 [K, h, w]. Fast: scores at the network's own resolution, half the bucket's. Accurate, which has no such
    # resolution: the mean over scales and mirror images at half the size of scale 1.
    scores: Tensor
    mean_scores: npt.NDArray[np.float64] | None  # [K]: mean softmax over each label's pixels, where it was asked for
    mode: str = "fast"
    seconds: dict[str, float] = field(default_factory=dict)  # by stage: text, image, mask


@dataclass(frozen=True)
class Work:
    """A job with what is known of it, and its place among the others."""

    index: int
    job: Job
    labels: tuple[str, ...]
    text: Tensor  # [K, E]
    seconds: dict[str, float]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        height, width = self.job.image.shape[:2]
        return height, width

    def mask(self, logits: ScoreMap, temperature: float = 1.0) -> Mask:
        """The mask as the job asks for it."""
        job = self.job
        return make_mask(logits, threshold=job.threshold, with_scores=job.with_scores, temperature=temperature)

    def result(self, mask: Mask, bucket: Bucket, scores: Tensor) -> Segmentation:
        """The answer to the job."""
        return Segmentation(
            self.labels, mask.indices, bucket, scores, mask.mean_scores, self.job.mode, seconds=self.seconds
        )
