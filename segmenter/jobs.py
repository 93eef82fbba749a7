"""What goes into the segmenter and what comes out: jobs, results, and a job on its way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lseg_serve.labelsets import LabelInput
from lseg_serve.segmenter.config import MODES, Config
from lseg_serve.segmenter.errors import InvalidLabelsError, InvalidOptionError
from lseg_serve.segmenter.masks.groups import merged_mask, merged_scores
from lseg_serve.segmenter.masks.mask import Mask
from lseg_serve.segmenter.preprocessing.buckets import Bucket
from lseg_serve.segmenter.preprocessing.decoding import Pixels
from lseg_serve.segmenter.preprocessing.inputs import checked_pixels


@dataclass(frozen=True)
class EncodedLabels:
    """Labels with the embeddings of their words."""

    labels: tuple[str, ...]  # K names
    embeddings: Tensor  # float32 [W, E], of unit length: of all words, one label's after the other
    seconds: float  # that it took to look them up or encode them
    counts: tuple[int, ...] | None = None  # how many words each label has; None: one each, so that W is K

    @property
    def word_count(self) -> int:
        """W, the words of all labels."""
        return len(self.labels) if self.counts is None else sum(self.counts)

    def check_size(self, embedding: int) -> None:
        """Raise unless there is one embedding of `embedding` elements for each word.

        Raises:
            InvalidLabelsError: the embeddings are another model's, or not as many as the words.
        """
        shape, words = tuple(self.embeddings.shape), self.word_count
        if shape != (words, embedding) or (self.counts is not None and len(self.counts) != len(self.labels)):
            raise InvalidLabelsError(
                f"the embeddings of {words} labels have the shape {list(shape)}; accepted: those of this "
                f"model's encode_labels, [{words}, {embedding}]"
            )

    def check_ungrouped(self) -> None:
        """Raise if a label has several words.

        Raises:
            InvalidLabelsError: one has; the message names it.
        """
        for label, count in zip(self.labels, self.counts or (), strict=False):
            if count > 1:
                raise InvalidLabelsError(
                    f"label {label[:60]!r} is a group of {count} words, which have an embedding each; accepted for "
                    "embeddings: each word as a label of its own"
                )


@dataclass(frozen=True)
class Job:
    """One image to segment."""

    image: Pixels  # [H, W, 3], RGB
    # Encoded by `Segmenter.encode_labels`, or as texts and groups of texts, which it checks; None: the label set
    # exported with the model.
    labels: EncodedLabels | Sequence[LabelInput] | None = None
    threshold: float = 0.0
    with_scores: bool = False  # mean score of each label
    with_score_map: bool = True  # the scores themselves, which accurate mode computes for this alone
    mode: str = "fast"

    def checked(self, config: Config) -> Job:
        """This job, its image laid out as torch needs it. Labels are checked where they are encoded.

        Raises:
            InvalidImageError: no pixels uint8 [H, W, 3], or more of them than `config` accepts.
            InvalidOptionError: the threshold or the mode is not accepted.
        """
        if self.mode not in MODES:
            raise InvalidOptionError(f"mode is {self.mode!r}; accepted: {', '.join(MODES)}", "mode")
        image = checked_pixels(self.image, config.max_image_pixels)
        return replace(self, image=image, threshold=_checked_threshold(self.threshold))


def _checked_threshold(value: object) -> float:
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        number = float(value)
        if 0 <= number <= 1:  # NaN is not
            return number
    raise InvalidOptionError(f"threshold is {str(value)[:60]!r}; accepted: a number from 0 to 1", "threshold")


@dataclass(frozen=True)
class Segmentation:
    """One image, segmented."""

    labels: tuple[str, ...]  # the name of each
    mask: Pixels  # [H, W]: index into labels, 255 where unlabelled
    bucket: Bucket  # the size at which the network saw the image, or each window of it
    score_map: Tensor | None  # what `scores` gives; None where the job did not ask for it
    mean_scores: npt.NDArray[np.float64] | None  # [K]: mean softmax over each label's pixels, where it was asked for
    mode: str = "fast"
    seconds: dict[str, float] = field(default_factory=dict)  # by stage: text, network, mask

    @property
    def scores(self) -> Tensor:
        """The scores of all labels, of a group the largest of its words': float32 [K, h, w].

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
        """What the job asked for, from the `mask` [H, W] and the `scores` [W, h, w] of its labels' words."""
        seconds = {"text": self.text.seconds, "network": self.network_seconds, "mask": mask_seconds}
        counts = self.text.counts
        if counts is not None:
            mask = merged_mask(mask, counts)
            scores = None if scores is None else merged_scores(scores, counts)
        return Segmentation(
            self.text.labels, mask.indices, bucket, scores, mask.mean_scores, self.job.mode, seconds=seconds
        )


@contextmanager
def network_timed(tasks: Sequence[Task]) -> Iterator[None]:
    """Add the seconds that the block takes to the tasks, an equal share to each."""
    start = time.perf_counter()
    yield
    add_network_time(tasks, start)


def add_network_time(tasks: Sequence[Task], start: float) -> None:
    """Add the seconds since `start`, of the performance counter, to the tasks, an equal share to each."""
    share = (time.perf_counter() - start) / len(tasks)
    for task in tasks:
        task.network_seconds += share
