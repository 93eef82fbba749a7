"""Images and labels in, masks out.

Fast mode is one pass over the whole image, accurate mode the published evaluation of `segmenter.masks.accurate`.
"""

from __future__ import annotations

import gc
import os
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lseg_serve.embeddings import Embeddings, PointsError
from lseg_serve.embeddings.points import Points, as_points
from lseg_serve.labelsets import Label, LabelInput, word_count
from lseg_serve.model import Architecture, LSeg
from lseg_serve.segmenter.batches import Batches
from lseg_serve.segmenter.config import Config
from lseg_serve.segmenter.cost import CostModel, Work, log_estimates, measure_rates
from lseg_serve.segmenter.devices import Device, choose_device
from lseg_serve.segmenter.embed.embedder import Embedder, Embedding, EmbedJob
from lseg_serve.segmenter.embed.head import Head
from lseg_serve.segmenter.embed.options import EmbedOptions
from lseg_serve.segmenter.engine.feature_cache import FeatureCache
from lseg_serve.segmenter.engine.network import Network
from lseg_serve.segmenter.engine.shapes import plan_shapes
from lseg_serve.segmenter.engine.text_cache import TextCache
from lseg_serve.segmenter.engine.warmup import WarmUp, warm_up
from lseg_serve.segmenter.errors import InvalidOptionError
from lseg_serve.segmenter.jobs import EncodedLabels, Job, Segmentation, Task
from lseg_serve.segmenter.loading import read_model
from lseg_serve.segmenter.masks.groups import merged_scores
from lseg_serve.segmenter.masks.score_maps import assembled
from lseg_serve.segmenter.preprocessing.buckets import Bucket
from lseg_serve.segmenter.preprocessing.decoding import Pixels
from lseg_serve.segmenter.preprocessing.inputs import read_pixels
from lseg_serve.segmenter.vocabulary import Vocabulary


class Segmenter:
    """A network on its device with its label embeddings: everything a worker needs, and usable from Python alone.

    Several threads may use one. The network works for one of them at a time; the rest is done side by side.
    """

    def __init__(
        self,
        net: LSeg,
        *,
        config: Config | None = None,
        device: Device | None = None,
        label_set: Sequence[Label] = (),
        label_embeddings: Tensor | None = None,
        manifest: dict[str, Any] | None = None,
        most_images: int | None = None,
        keep_features: bool = True,
    ) -> None:
        self.config = config or Config()
        self.device = device or choose_device(self.config)
        self.shapes = plan_shapes(self.config, net.architecture, self.device, most_images)
        head = Head(net)  # a copy, before the network moves to the device
        self.network = Network(net, self.device, self.shapes)
        self.warmed: WarmUp | None = None
        self.costs: CostModel | None = None  # `warm_up` measures it
        self.label_set = tuple(label_set)
        self.manifest = manifest or {}
        self.text_cache = TextCache(self.network.encode, self.config.text_cache_size)
        # A device that compiles each shape would compile the cutting of a batch into its images as well.
        kept = keep_features and not self.device.compiles_each_shape
        limit = self.config.feature_cache_megabytes * 1_000_000 if kept else 0
        self.feature_cache = FeatureCache(limit) if limit else None
        self._vocabulary = Vocabulary(self.text_cache, self.config, self.label_set, label_embeddings)
        self._batches = Batches(self.network, self.shapes, self.config.accurate, self.feature_cache)
        self.embedder = Embedder(self.network, self.shapes, self.config, head, self._features_of, self.encode_labels)

    @classmethod
    def load(
        cls,
        path: str | Path,
        config: Config | None = None,
        device: Device | None = None,
        most_images: int | None = None,
        *,
        keep_features: bool = True,
    ) -> Segmenter:
        """Load an exported model (.mar, .tar.gz or its folder), or a checkpoint as it is.

        Args:
            path: the file or folder.
            config: the configuration; None: the one in the archive.
            device: where the network runs; None: what the configuration says.
            most_images: how many images `segment_batch` gets at most. Batches that so few never fill are not
                prepared. None: any number.
            keep_features: whether features of images are kept for the next look at them, as far as the configuration
                says. Where each image comes once, that would cost time and memory for nothing.

        Raises:
            ArchiveError: no complete archive.
            CheckpointError: no checkpoint that LSeg can be built from.
            ConfigError: the archive's configuration is not accepted.
            DeviceError: the device it names is not there.
        """
        model = read_model(Path(path), config, device)
        try:
            segmenter = cls(
                model.net,
                config=model.config,
                device=model.device,
                label_set=model.label_set,
                label_embeddings=model.label_embeddings,
                manifest=model.manifest,
                most_images=most_images,
                keep_features=keep_features,
            )
        except BaseException:
            model.remove_copy()
            raise
        if model.copy is not None:
            weakref.finalize(segmenter, model.copy.remove)
        return segmenter

    @property
    def net(self) -> LSeg:
        """The network itself, as it lies on the device."""
        return self.network.net

    @property
    def architecture(self) -> Architecture:
        """The sizes of the network."""
        return self.net.architecture

    def segment(
        self,
        image: str | os.PathLike[str] | bytes | Pixels,
        labels: Sequence[LabelInput] | None = None,
        *,
        threshold: float = 0.0,
        mode: str | None = None,
        template: str | Sequence[str] | None = None,
    ) -> Segmentation:
        """Segment one image: a file's path or bytes, or RGB pixels uint8 [H, W, 3].

        `labels` are texts, or groups of texts: lists of words, or mappings of `name` and `any`. Without them, those
        exported with the model are used. `mode` is fast or accurate, and `template` one sentence or several with `{}`
        in the place of a word; without them, what the configuration says.

        Raises:
            InvalidRequestError: the image, the labels, or an option cannot be used, or take too long together. All are
                checked as a request's are, with the same errors; see the tree in `segmenter.errors`.
        """
        pixels = read_pixels(image, self.config.max_image_pixels)
        job = Job(pixels, labels, threshold, mode=self.config.mode if mode is None else mode).checked(self.config)
        job = replace(job, labels=self.encode_labels(labels, template))
        self.check_cost(job)
        return self.segment_batch([job])[0]

    def embed(
        self,
        image: str | os.PathLike[str] | bytes | Pixels,
        *,
        labels: Sequence[str] | None = None,
        options: EmbedOptions | None = None,
    ) -> Embeddings:
        """The embeddings of one image, given as in `segment`, to be asked for points and labels later.

        In fast mode they are the head's output before its last doubling, at a quarter of the network's input: without
        loss in float32, half as large in float16. In accurate mode they have half the size of scale 1. Labels come
        with their embeddings; further ones are encoded by this segmenter when they are asked.

        Raises:
            InvalidRequestError: the image, the labels or the options cannot be used, or take too long.
        """
        found = self._embed(image, labels, None, options or EmbedOptions()).embeddings
        assert found is not None  # there were no points
        return found

    def embed_points(
        self,
        image: str | os.PathLike[str] | bytes | Pixels,
        points: object,
        *,
        options: EmbedOptions | None = None,
    ) -> npt.NDArray[Any]:
        """The unit embeddings at `points` [N, 2] of x and y, in pixels of the image; see `Embeddings.at`: [N, E].

        In fast mode they are those of `embed`. In accurate mode they are exact, while those of its map are not.

        Raises:
            InvalidRequestError: as `embed`, or the points are not accepted.
        """
        try:
            found = self._embed(image, None, as_points(points), options or EmbedOptions()).vectors
        except PointsError as error:
            raise InvalidOptionError(str(error), "points") from error
        assert found is not None
        return found

    def embed_labels(
        self, labels: Sequence[str], template: str | Sequence[str] | None = None
    ) -> npt.NDArray[np.float32]:
        """Unit embeddings of `labels` in `template`, as in `segment`: float32 [K, E].

        Raises:
            InvalidLabelsError: they cannot be used.
            InvalidOptionError: the template cannot.
        """
        encoded = self.encode_labels(labels, template)
        encoded.check_ungrouped()
        embeddings: npt.NDArray[np.float32] = encoded.embeddings.numpy()
        return embeddings

    def _embed(
        self,
        image: str | os.PathLike[str] | bytes | Pixels,
        labels: Sequence[str] | None,
        points: Points | None,
        options: EmbedOptions,
    ) -> Embedding:
        pixels = read_pixels(image, self.config.max_image_pixels)
        job = EmbedJob(pixels, labels, points, options)
        self.check_embedding(job)
        return self.embed_batch([job])[0]

    def check_embedding(self, job: EmbedJob, share: int = 1) -> int:
        """The bytes that the embeddings of `job` will take, once it is checked. Seconds as in `check_cost`.

        Raises:
            InvalidRequestError: what is not accepted, or would take longer than `max_request_seconds`.
        """
        return self.embedder.check(job, self.costs, share)

    def embed_batch(self, jobs: Sequence[EmbedJob]) -> list[Embedding]:
        """The embeddings that each job asks for, one job after the other.

        Raises:
            InvalidRequestError: one of the jobs cannot be used.
        """
        return [self.embedder.embed(job) for job in jobs]

    @torch.no_grad()
    def _features_of(self, image: Pixels, bucket: Bucket) -> Tensor:
        """The features [F+4, P] of one whole image, on the host. They are cached as those of masks are."""
        none = EncodedLabels((), torch.zeros(0, self.architecture.embedding), 0.0)
        ((_, features),) = self._batches.features([Task(Job(image), none)], bucket)
        return self.device.to_host(features)[0]

    def check_cost(self, job: Job, share: int = 1) -> None:
        """Refuse a job that would take longer than `max_request_seconds`. Before `warm_up` nothing is refused.

        Args:
            job: the job.
            share: how many jobs there are in the request that it is of. Each may take its share of the seconds.

        Raises:
            RequestTooCostlyError: it would.
        """
        most = self.config.max_request_seconds
        if self.costs is None or most == 0:
            return
        labels = self.label_set if job.labels is None else job.labels
        count = labels.word_count if isinstance(labels, EncodedLabels) else word_count(labels)
        height, width = job.image.shape[:2]
        work = Work(height, width, count, job.mode, softmax=job.with_scores or job.threshold > 0)
        self.costs.check(work, most / share)

    @torch.no_grad()
    def segment_batch(self, jobs: Sequence[Job]) -> list[Segmentation]:
        """Segment several images, each with its own labels; those of one bucket go through the network together.

        So do the windows of all images in accurate mode.

        Raises:
            InvalidRequestError: one of the jobs cannot be used, as in `segment`.
        """
        tasks = [self._task(job) for job in jobs]
        results = dict(self._batches.fast([task for task in tasks if task.job.mode == "fast"]))
        results.update(self._batches.accurate([task for task in tasks if task.job.mode == "accurate"]))
        return [results[task] for task in tasks]

    @torch.no_grad()
    def encode_labels(
        self, labels: EncodedLabels | Sequence[LabelInput] | None, template: str | Sequence[str] | None = None
    ) -> EncodedLabels:
        """Embeddings of the words of `labels` in `template`; both as in `segment`. What is encoded is passed through.

        Raises:
            InvalidLabelsError: what `checked_labels` refuses, a word that the text tower cannot take, none where the
                model has no label set, or embeddings of another model.
            InvalidOptionError: what `checked_templates` refuses.
        """
        if isinstance(labels, EncodedLabels):
            labels.check_size(self.architecture.embedding)
            return labels
        return self._vocabulary.encoded(labels, template)

    def _task(self, job: Job) -> Task:
        return Task(job.checked(self.config), self.encode_labels(job.labels))

    @torch.no_grad()
    def accurate_scores(self, image: Pixels, labels: Sequence[LabelInput]) -> Tensor:
        """Scores of `labels` for `image` [H, W, 3] in accurate mode, lang-seg's sum of logits: float32 [K, H, W].

        The whole map at once, for small images; masks are made without it.

        Raises:
            InvalidRequestError: as in `segment`.
        """
        ((task, collector),) = self._batches.collected([self._task(Job(image, labels, mode="accurate"))])
        scores = assembled(collector.sum())
        return scores if task.text.counts is None else merged_scores(scores, task.text.counts)

    def free_memory(self) -> None:
        """Give back all memory that is held for speed alone: the feature cache, and what the device keeps for later.

        For when memory runs out. The embeddings of labels stay: they are small, and dear to compute.
        """
        if self.feature_cache is not None:
            self.feature_cache.clear()
        gc.collect()  # tensors in cycles, such as those of an error's traceback
        self.device.empty_cache()

    def warm_up(self) -> WarmUp:
        """Run the network before the first request does, so that none pays for what a first run costs.

        Then encode the label set in the configured template, and measure how fast the network is, for `check_cost`.
        """
        start = time.perf_counter()
        warmed = warm_up(self.network, self.config.hpu)
        self._vocabulary.encode_label_set()
        rates = measure_rates(self.network, warmed.warm)
        self.costs = None if rates is None else CostModel(rates, self.shapes, self.config.accurate)
        if self.costs is not None:
            log_estimates(self.costs, self.config.max_request_seconds)
        self.warmed = replace(warmed, seconds=time.perf_counter() - start)
        return self.warmed
