"""Images and labels in, masks out.

Fast mode is one pass over the whole image, accurate mode the published evaluation of `segmenter.masks.accurate`.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lseg_serve.embeddings import Embeddings, PointsError
from lseg_serve.embeddings.points import Points, as_points
from lseg_serve.model import Architecture, LabelTooLongError, LSeg, read_checkpoint
from lseg_serve.segmenter.archive import CONFIG_FILE, Archive, unpack
from lseg_serve.segmenter.config import MODES, Config
from lseg_serve.segmenter.cost import CostModel, Work, measure_rates
from lseg_serve.segmenter.devices import Device, choose_device
from lseg_serve.segmenter.embed.embedder import Embedder, Embedding, EmbedJob
from lseg_serve.segmenter.embed.head import Head
from lseg_serve.segmenter.embed.options import EmbedOptions
from lseg_serve.segmenter.engine.feature_cache import FeatureCache, FeatureKey, feature_key
from lseg_serve.segmenter.engine.network import Network
from lseg_serve.segmenter.engine.shapes import plan_shapes
from lseg_serve.segmenter.engine.text_cache import TextCache
from lseg_serve.segmenter.engine.warmup import WarmUp, warm_up
from lseg_serve.segmenter.errors import DeviceError, InvalidLabelsError, InvalidOptionError
from lseg_serve.segmenter.jobs import EncodedLabels, Job, Segmentation, Task
from lseg_serve.segmenter.masks.accurate import ScoreCollector, make_crops
from lseg_serve.segmenter.masks.mask import Mask, bucket_logits, make_mask
from lseg_serve.segmenter.masks.score_maps import ScoreMap, assembled
from lseg_serve.segmenter.preprocessing.buckets import Bucket, choose_bucket, resize_to_bucket
from lseg_serve.segmenter.preprocessing.decoding import Pixels
from lseg_serve.segmenter.preprocessing.inputs import read_pixels
from lseg_serve.segmenter.preprocessing.labels import checked_labels
from lseg_serve.segmenter.scratch import ScratchFolder

logger = logging.getLogger(__name__)


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
        label_set: Sequence[str] = (),
        label_embeddings: Tensor | None = None,
        manifest: dict[str, Any] | None = None,
        most_images: int | None = None,
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
        limit = 0 if self.device.compiles_each_shape else self.config.feature_cache_megabytes * 1_000_000
        self.feature_cache = FeatureCache(limit) if limit else None
        if label_embeddings is not None:
            self.text_cache.pin(self.label_set, label_embeddings)
        self.embedder = Embedder(self.network, self.shapes, self.config, head, self._features_of, self.encode_labels)

    @classmethod
    def load(
        cls,
        path: str | Path,
        config: Config | None = None,
        device: Device | None = None,
        most_images: int | None = None,
    ) -> Segmenter:
        """Load an exported model (.mar, .tar.gz or its folder), or a checkpoint as it is.

        Args:
            path: the file or folder.
            config: the configuration; None: the one in the archive.
            device: where the network runs; None: what the configuration says.
            most_images: how many images `segment_batch` gets at most. Batches that so few never fill are not
                prepared. None: any number.

        Raises:
            ArchiveError: no complete archive.
            CheckpointError: no checkpoint that LSeg can be built from.
            ConfigError: the archive's configuration is not accepted.
            DeviceError: the device it names is not there.
        """
        path = Path(path)
        if path.name.endswith((".mar", ".tar.gz")):
            return cls._load_packed(path, config, device, most_images)
        if not path.is_dir():
            net = LSeg.from_tensors(read_checkpoint(path))
            return cls(net, config=config, device=device, most_images=most_images)
        archive = Archive.read(path)
        config = config or Config.from_file(path / CONFIG_FILE)
        device = device or choose_device(config)
        return cls(
            _in_precision(LSeg.from_tensors(archive.weights, own_types=True), archive.manifest["precision"], device),
            config=config,
            device=device,
            label_set=archive.labels,
            label_embeddings=archive.label_embeddings,
            manifest=archive.manifest,
            most_images=most_images,
        )

    @classmethod
    def _load_packed(
        cls, path: Path, config: Config | None, device: Device | None, most_images: int | None
    ) -> Segmenter:
        """Load from an unpacked copy that lives as long as the segmenter: the weights stay mapped from its files.

        A process that a signal ends leaves its copy behind, and the next load removes it. A library must not take over
        the signals of the program that uses it.
        """
        folder = ScratchFolder(Path(tempfile.gettempdir()), "lseg-")
        try:
            segmenter = cls.load(unpack(path, folder.path), config, device, most_images)
        except BaseException:
            folder.remove()
            raise
        weakref.finalize(segmenter, folder.remove)
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
        labels: Sequence[str] | None = None,
        *,
        threshold: float = 0.0,
        mode: str | None = None,
    ) -> Segmentation:
        """Segment one image: a file's path or bytes, or RGB pixels uint8 [H, W, 3].

        `mode` is fast or accurate; without it, what the configuration says. Without `labels`, those exported with the
        model are used.

        Raises:
            InvalidRequestError: the image, the labels, the threshold or the mode cannot be used, or take too long
                together. All are checked as a request's are, with the same errors; see the tree in `segmenter.errors`.
        """
        pixels = read_pixels(image, self.config.max_image_pixels)
        job = Job(pixels, labels, threshold, mode=self.config.mode if mode is None else mode).checked(self.config)
        job = replace(job, labels=self.encode_labels(labels))
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

    def embed_labels(self, labels: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit embeddings of `labels`, as typed: float32 [K, E].

        Raises:
            InvalidLabelsError: they cannot be used.
        """
        embeddings: npt.NDArray[np.float32] = self.encode_labels(labels).embeddings.numpy()
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

    def check_embedding(self, job: EmbedJob) -> int:
        """The bytes that the embeddings of `job` will take, once it is checked.

        Raises:
            InvalidRequestError: what is not accepted, or would take longer than `max_request_seconds`.
        """
        return self.embedder.check(job, self.costs)

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
        ((_, features),) = self._features([Task(Job(image), none)], bucket)
        return self.device.to_host(features)[0]

    def check_cost(self, job: Job) -> None:
        """Refuse a job that would take longer than `max_request_seconds`. Before `warm_up` nothing is refused.

        Raises:
            RequestTooCostlyError: it would.
        """
        most = self.config.max_request_seconds
        if self.costs is None or most == 0:
            return
        labels = job.labels.labels if isinstance(job.labels, EncodedLabels) else job.labels
        count = len(self.label_set if labels is None else labels)
        height, width = job.image.shape[:2]
        work = Work(height, width, count, job.mode, softmax=job.with_scores or job.threshold > 0)
        self.costs.check(work, most)

    @torch.no_grad()
    def segment_batch(self, jobs: Sequence[Job]) -> list[Segmentation]:
        """Segment several images, each with its own labels; those of one bucket go through the network together.

        So do the windows of all images in accurate mode.

        Raises:
            InvalidRequestError: one of the jobs cannot be used, as in `segment`.
        """
        tasks = [self._task(job) for job in jobs]
        results = dict(self._segment_fast([task for task in tasks if task.job.mode == "fast"]))
        results.update(self._segment_accurate([task for task in tasks if task.job.mode == "accurate"]))
        return [results[task] for task in tasks]

    @torch.no_grad()
    def encode_labels(self, labels: EncodedLabels | Sequence[str] | None) -> EncodedLabels:
        """Embeddings of `labels`; None means the exported label set, and what is encoded already is passed through.

        Raises:
            InvalidLabelsError: what `checked_labels` refuses, a label that the text tower cannot take, none where the
                model has no label set, or embeddings of another model.
        """
        if isinstance(labels, EncodedLabels):
            labels.check_size(self.architecture.embedding)
            return labels
        chosen = self.label_set if labels is None else checked_labels(labels, self.config)
        if not chosen:
            raise InvalidLabelsError("labels is missing, and this model was exported without a label set")
        start = time.perf_counter()
        try:
            embeddings = self.text_cache.embeddings(chosen)
        except LabelTooLongError as error:
            raise InvalidLabelsError(str(error)) from error
        return EncodedLabels(chosen, embeddings, time.perf_counter() - start)

    def _task(self, job: Job) -> Task:
        return Task(job.checked(self.config), self.encode_labels(job.labels))

    def _segment_fast(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Segmentation]]:
        """One pass over each image; images of one bucket go through the network together."""
        buckets = [choose_bucket(self.shapes.buckets, *task.size) for task in tasks]
        for bucket in dict.fromkeys(buckets):
            together = [task for task, own in zip(tasks, buckets, strict=True) if own == bucket]
            for batch, features in self._features(together, bucket):
                with _network_timed(batch):
                    texts = [task.text.embeddings for task in batch]
                    scores = self.network.scores_of(features, texts, bucket.height, bucket.width)
                for task, own in zip(batch, scores, strict=True):
                    start = time.perf_counter()
                    mask = _make_mask(task, bucket_logits(own, bucket, *task.size))
                    yield task, task.result(mask, time.perf_counter() - start, bucket, own)

    def _features(self, tasks: Sequence[Task], bucket: Bucket) -> Iterator[tuple[Sequence[Task], Tensor]]:
        """The features [B, F+4, P] of images of one bucket: first those in the cache, then the others in batches."""
        keys: dict[Task, FeatureKey] = {}
        missing = []
        for task in tasks:
            features = None
            if self.feature_cache is not None:
                with _network_timed([task]):
                    keys[task] = feature_key(task.job.image, (bucket.height, bucket.width))
                    features = self.feature_cache.get(keys[task])
            if features is None:
                missing.append(task)
            else:
                yield [task], features
        waiting = iter(missing)
        for size in self.shapes.split_images(len(missing)):
            batch = list(itertools.islice(waiting, size))
            with _network_timed(batch):
                features = self.network.features([resize_to_bucket(task.job.image, bucket) for task in batch], size)
                if self.feature_cache is not None:
                    for task, own in zip(batch, features.split(1), strict=False):
                        self.feature_cache.put(keys[task], own)
            yield batch, features

    def _segment_accurate(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Segmentation]]:
        """Each image's mask is made as soon as its last window is through, so that few wait in memory."""
        for task, collector in self._collect_scores(tasks):
            start = time.perf_counter()
            mask = _make_mask(task, collector.sum(), temperature=self.config.accurate.divisor)
            overview = collector.overview() if task.job.with_score_map else None
            seconds = time.perf_counter() - start
            del collector  # its scores must not outlive it while the next image's are collected
            yield task, task.result(mask, seconds, self.shapes.window, overview)

    def _collect_scores(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, ScoreCollector]]:
        """The scores of each image's windows, those of all images in batches together."""
        params = self.config.accurate
        collectors = {task: ScoreCollector(*task.size, params) for task in tasks}
        crops = make_crops([task.job.image for task in tasks], params)
        for size in self.shapes.split_windows(sum(collector.missing for collector in collectors.values())):
            start = time.perf_counter()
            batch = list(itertools.islice(crops, size))
            members = [tasks[crop.image] for crop in batch]
            texts = [task.text.embeddings for task in members]
            scores = self.network.scores([crop.pixels for crop in batch], texts, size)
            for crop, task, own in zip(batch, members, scores, strict=True):
                collectors[task].add(crop, own)
            distinct = list(dict.fromkeys(members))
            _add_network_time(distinct, start)
            for task in distinct:
                if not collectors[task].missing:
                    yield task, collectors.pop(task)

    @torch.no_grad()
    def accurate_scores(self, image: Pixels, labels: Sequence[str]) -> Tensor:
        """Scores of `labels` for `image` [H, W, 3] in accurate mode, lang-seg's sum of logits: float32 [K, H, W].

        The whole map at once, for small images; masks are made without it.

        Raises:
            InvalidRequestError: as in `segment`.
        """
        ((_, collector),) = self._collect_scores([self._task(Job(image, labels, mode="accurate"))])
        return assembled(collector.sum())

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

        Then measure how fast it is, for `check_cost`.
        """
        start = time.perf_counter()
        warmed = warm_up(self.network, self.config.hpu)
        rates = measure_rates(self.network, warmed.warm)
        self.costs = None if rates is None else CostModel(rates, self.shapes, self.config.accurate)
        self._log_costs()
        self.warmed = replace(warmed, seconds=time.perf_counter() - start)
        return self.warmed

    def _log_costs(self) -> None:
        """Log the estimate for an ordinary request in each mode: a warning if it would be refused."""
        if self.costs is None:
            return
        for mode in MODES:
            seconds, most = self.costs.seconds(Work(480, 640, 20, mode)), self.config.max_request_seconds
            logger.info("640x480 pixels with 20 labels take an estimated %.1f s in %s mode", seconds, mode)
            if 0 < most < seconds:
                logger.warning("Requests in %s mode are refused: max_request_seconds is %d", mode, most)


def _in_precision(net: LSeg, precision: str, device: Device) -> LSeg:
    """`net` in the archive's precision; where the device has no 8-bit kernels, int8 weights become its floats.

    Raises:
        DeviceError: the manifest names another precision than the weights have.
    """
    problem = device.int8_unavailable_reason() if precision == "int8" else None
    if problem is not None:
        floats = device.instead_of_int8
        logger.info("the archive is int8, but %s: its weights are used as %s", problem, floats)
        return net.dequantize().set_precision(floats)
    try:
        return net.set_precision(getattr(torch, precision))
    except ValueError as error:
        raise DeviceError(str(error)) from error


def _make_mask(task: Task, logits: ScoreMap, temperature: float = 1.0) -> Mask:
    job = task.job
    return make_mask(logits, threshold=job.threshold, with_scores=job.with_scores, temperature=temperature)


@contextmanager
def _network_timed(tasks: Sequence[Task]) -> Iterator[None]:
    """Add the seconds that the block takes to the tasks, an equal share to each."""
    start = time.perf_counter()
    yield
    _add_network_time(tasks, start)


def _add_network_time(tasks: Sequence[Task], start: float) -> None:
    share = (time.perf_counter() - start) / len(tasks)
    for task in tasks:
        task.network_seconds += share
