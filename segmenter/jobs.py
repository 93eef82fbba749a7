"""What goes into the segmenter and what comes out: jobs, results, and a job on its way."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lseg_serve.segmenter.masks.mask import Mask
from lseg_serve.segmenter.preprocessing.buckets import Bucket
from lseg_serve.segmenter.preprocessing.decoding import Pixels


@dataclass(frozen=True)
class EncodedLabels:
    """Labels with their embeddings."""

    labels: tuple[str, ...]
    embeddings: Tensor  # float32 [K, E], of unit length
    seconds: float  # that it took to look them up or encode them


@dataclass(frozen=True)
class Job:
    """One image to segment."""

    image: Pixels  # [H, W, 3], RGB
    # Encoded by `Segmenter.encode_labels`, or as texts; None: the label set exported with the model.
    labels: EncodedLabels | tuple[str, ...] | None = None
    threshold: float = 0.0
    with_scores: bool = False  # mean score of each label
    with_score_map: bool = True  # the scores themselves, which accurate mode computes for this alone
    mode: str = "fast"


@dataclass(frozen=True)
class Segmentation:
    """One image, segmented."""

    labels: tuple[str, ...]
    mask: Pixels  # [H, W]: index into labels, 255 where unlabelled
    bucket: Bucket  # the size at which the network saw the image, or each window of it
    score_map: Tensor | None  # what `scores` gives; None where the job did not ask for it
    mean_scores: npt.NDArray[np.float64] | None  # [K]: mean softmax over each label's pixels, where it was asked for
    mode: str = "fast"
    seconds: dict[str, float] = field(default_factory=dict)  # by stage: text, network, mask

    @property
    def scores(self) -> Tensor:
        """The scores of all labels: float32 [K, h, w].

        In fast mode they have the network's own resolution, half the bucket's. Accurate mode has no such resolution:
        they are the mean over scales and mirror images at half the size of scale 1.

        Raises:
            ValueError: the job did not ask for them.
        """
        if self.score_map is None:
            raise ValueError("the scores were not asked for (Job.with_score_map)")
        return self.score_map


@dataclass(eq=False)
class Task:
    """A job on its way through the network, and the seconds that it has spent there."""

    job: Job
    text: EncodedLabels
    network_seconds: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        height, width = self.job.image.shape[:2]
        return height, width

    def result(self, mask: Mask, mask_seconds: float, bucket: Bucket, scores: Tensor | None) -> Segmentation:
        """What the job asked for."""
        seconds = {"text": self.text.seconds, "network": self.network_seconds, "mask": mask_seconds}
        return Segmentation(
            self.text.labels, mask.indices, bucket, scores, mask.mean_scores, self.job.mode, seconds=seconds
        )
