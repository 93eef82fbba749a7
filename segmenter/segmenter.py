"""Images and labels in, masks out: the stages of fast mode, one pass over the whole image."""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model import Architecture, LSeg, read_checkpoint
from model.text_encoder import tokenize
from segmenter.archive import CONFIG_FILE, Archive, unpack
from segmenter.buckets import Bucket, choose_bucket, fit, make_buckets
from segmenter.config import Config
from segmenter.devices import Device, choose_device
from segmenter.errors import InvalidLabelsError
from segmenter.images import decode_image
from segmenter.labels import checked_labels
from segmenter.masks import make_mask
from segmenter.text_cache import TextCache

Pixels = npt.NDArray[np.uint8]
MODES = ("fast",)


@dataclass(frozen=True)
class Job:
    """One image to segment."""

    image: Pixels  # [H, W, 3], RGB
    labels: tuple[str, ...] | None = None  # None: the label set exported with the model
    threshold: float = 0.0
    with_scores: bool = False  # mean score of each label


@dataclass(frozen=True)
class Segmentation:
    """One image, segmented."""

    labels: tuple[str, ...]
    mask: Pixels  # [H, W]: index into labels, 255 where unlabelled
    bucket: Bucket  # the size at which the network saw the image
    scores: Tensor  # float32 [K, h, w]: scores at the network's own resolution, half the bucket's
    mean_scores: npt.NDArray[np.float64] | None  # [K]: mean softmax over each label's pixels, where it was asked for
    seconds: dict[str, float] = field(default_factory=dict)  # by stage: text, image, mask


class Segmenter:
    """A network on its device with its label embeddings: everything a worker needs, and usable from Python alone."""

    def __init__(
        self,
        net: LSeg,
        *,
        config: Config | None = None,
        device: Device | None = None,
        label_set: Sequence[str] = (),
        label_embeddings: Tensor | None = None,
        manifest: dict[str, Any] | None = None,
    ) -> None:
        self.config = config or Config()
        self.device = device or choose_device(self.config.device)
        self.net = self.device.place(net).eval().requires_grad_(False)
        self.label_set = tuple(label_set)
        self.manifest = manifest or {}
        self.buckets = make_buckets(self.config.static_image_size_params)
        self.text_cache = TextCache(self._encode, max(self.config.text_cache_size, len(set(self.label_set))))
        if label_embeddings is not None:
            self.text_cache.remember(self.label_set, self.device.to_device(label_embeddings))

    @classmethod
    def load(cls, path: str | Path, config: Config | None = None, device: Device | None = None) -> Segmenter:
        """Load an exported model (.mar, .tar.gz or its folder), or a checkpoint as it is.

        Raises:
            ArchiveError: no complete archive.
            CheckpointError: no checkpoint that LSeg can be built from.
            ConfigError: the archive's configuration is not accepted.
            DeviceError: the device it names is not there.
        """
        path = Path(path)
        if path.name.endswith((".mar", ".tar.gz")):
            return cls._load_packed(path, config, device)
        if not path.is_dir():
            return cls(LSeg.from_tensors(read_checkpoint(path)), config=config, device=device)
        archive = Archive.read(path)
        precision: torch.dtype = getattr(torch, archive.manifest["precision"])
        return cls(
            LSeg.from_tensors(archive.weights).set_precision(precision),
            config=config or Config.from_file(path / CONFIG_FILE),
            device=device,
            label_set=archive.labels,
            label_embeddings=archive.label_embeddings,
            manifest=archive.manifest,
        )

    @classmethod
    def _load_packed(cls, path: Path, config: Config | None, device: Device | None) -> Segmenter:
        """Load from an unpacked copy that lives as long as the segmenter: the weights stay mapped from its files."""
        folder = Path(tempfile.mkdtemp(prefix="lseg-"))
        try:
            segmenter = cls.load(unpack(path, folder), config, device)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(segmenter, shutil.rmtree, folder, ignore_errors=True)
        return segmenter

    @property
    def architecture(self) -> Architecture:
        """The sizes of the network."""
        return self.net.architecture

    def segment(
        self,
        image: str | Path | bytes | Pixels,
        labels: Sequence[str] | None = None,
        *,
        threshold: float = 0.0,
    ) -> Segmentation:
        """Segment one image: a file's path or bytes, or RGB pixels uint8 [H, W, 3].

        Raises:
            InvalidRequestError: the image or the labels cannot be used; see the tree in `segmenter.errors`.
        """
        if isinstance(image, str | Path):
            image = Path(image).read_bytes()
        pixels = decode_image(image, self.config.max_image_pixels) if isinstance(image, bytes) else image
        checked = None if labels is None else checked_labels(labels, self.config)
        return self.segment_batch([Job(pixels, checked, threshold)])[0]

    @torch.no_grad()
    def segment_batch(self, jobs: Sequence[Job]) -> list[Segmentation]:
        """Segment several images, each with its own labels; those of one bucket go through the network together.

        Raises:
            InvalidLabelsError: labels that are not checked yet, or none where the model has no label set.
        """
        seconds: list[dict[str, float]] = [{} for _ in jobs]
        labels, text = self._encode_text(jobs, seconds)
        buckets = [choose_bucket(self.buckets, *job.image.shape[:2]) for job in jobs]
        scores: dict[int, Tensor] = {}
        for bucket, members in self._batches(buckets):
            with _timed("image", [seconds[index] for index in members]):
                pixels = self.device.to_device(torch.stack([fit(jobs[index].image, bucket) for index in members]))
                embeddings = self.net.pixel_embeddings(pixels)
                for row, index in enumerate(members):
                    one = self.net.scores(embeddings[row : row + 1], text[index])[0]
                    scores[index] = self.device.to_host(one)
        results = []
        for index, job in enumerate(jobs):
            with _timed("mask", [seconds[index]]):
                mask = make_mask(
                    scores[index],
                    buckets[index],
                    *job.image.shape[:2],
                    threshold=job.threshold,
                    with_scores=job.with_scores,
                )
            results.append(
                Segmentation(
                    labels[index], mask.indices, buckets[index], scores[index], mask.mean_scores, seconds[index]
                )
            )
        return results

    def check_tokens(self, labels: Sequence[str]) -> None:
        """Raise InvalidLabelsError for labels that the text tower cannot take; known labels cost nothing."""
        if not labels:
            raise InvalidLabelsError("labels is missing, and this model was exported without a label set")
        try:
            tokenize([label for label in labels if label not in self.text_cache], self.architecture.context_length)
        except ValueError as error:
            raise InvalidLabelsError(str(error)) from error

    def warm_up(self) -> None:
        """Run the buckets once, so that no request pays for what a first run costs."""
        for bucket in self.buckets if self.device.prepares_each_shape else self.buckets[:1]:
            blank = np.zeros((bucket.height, bucket.width, 3), dtype=np.uint8)
            self.segment_batch([Job(blank, self.label_set[:1] or ("other",))])

    def _encode(self, labels: Sequence[str]) -> Tensor:
        return self.net.encode_labels(labels)

    def _encode_text(
        self, jobs: Sequence[Job], seconds: list[dict[str, float]]
    ) -> tuple[list[tuple[str, ...]], list[Tensor]]:
        labels, text = [], []
        for job, timing in zip(jobs, seconds, strict=True):
            chosen = self.label_set if job.labels is None else job.labels
            with _timed("text", [timing]):
                self.check_tokens(chosen)
                text.append(self.text_cache.embeddings(chosen))
            labels.append(chosen)
        return labels, text

    def _batches(self, buckets: Sequence[Bucket]) -> Iterator[tuple[Bucket, list[int]]]:
        """Indices of the jobs that go through the network together, at most as many as the device takes at once."""
        for bucket in dict.fromkeys(buckets):
            members = [index for index, other in enumerate(buckets) if other == bucket]
            for start in range(0, len(members), self.device.batch_size):
                yield bucket, members[start : start + self.device.batch_size]


@contextmanager
def _timed(stage: str, timings: Sequence[dict[str, float]]) -> Iterator[None]:
    """Add the seconds that the block takes to `stage`, an equal share to each of `timings`."""
    start = time.perf_counter()
    yield
    share = (time.perf_counter() - start) / len(timings)
    for timing in timings:
        timing[stage] = timing.get(stage, 0.0) + share
