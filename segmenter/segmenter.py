"""Images and labels in, masks out.

Fast mode is one pass over the whole image, accurate mode the published evaluation of `segmenter.accurate`.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lseg_serve.model import Architecture, LSeg, read_checkpoint
from lseg_serve.model.text_encoder import tokenize
from lseg_serve.segmenter.archive import CONFIG_FILE, Archive, unpack
from lseg_serve.segmenter.config import MODES, Config
from lseg_serve.segmenter.devices import Device, choose_device
from lseg_serve.segmenter.engine.feature_cache import FeatureCache, FeatureKey, feature_key
from lseg_serve.segmenter.engine.network import Network
from lseg_serve.segmenter.engine.shapes import plan_shapes
from lseg_serve.segmenter.engine.text_cache import TextCache
from lseg_serve.segmenter.engine.warmup import WarmUp, warm_up
from lseg_serve.segmenter.errors import DeviceError, InvalidLabelsError, InvalidOptionError
from lseg_serve.segmenter.jobs import Job, Pixels, Segmentation, Work
from lseg_serve.segmenter.masks.accurate import ScoreCollector, make_crops
from lseg_serve.segmenter.masks.mask import bucket_logits
from lseg_serve.segmenter.masks.score_maps import assembled
from lseg_serve.segmenter.preprocessing.buckets import Bucket, choose_bucket, resize_to_bucket
from lseg_serve.segmenter.preprocessing.images import decode_image
from lseg_serve.segmenter.preprocessing.labels import checked_labels

logger = logging.getLogger(__name__)


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
        self.device = device or choose_device(self.config)
        self.shapes = plan_shapes(self.config, net.architecture, self.device)
        self.network = Network(net, self.device, self.shapes)
        self.warmed: WarmUp | None = None
        self.label_set = tuple(label_set)
        self.manifest = manifest or {}
        self.text_cache = TextCache(self.network.encode, max(self.config.text_cache_size, len(set(self.label_set))))
        # A device that compiles each shape would compile the cutting of a batch into its images as well.
        limit = 0 if self.device.compiles_each_shape else self.config.feature_cache_megabytes * 1_000_000
        self.feature_cache = FeatureCache(limit) if limit else None
        if label_embeddings is not None:
            self.text_cache.remember(self.label_set, label_embeddings)

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
        config = config or Config.from_file(path / CONFIG_FILE)
        device = device or choose_device(config)
        return cls(
            _in_precision(LSeg.from_tensors(archive.weights, own_types=True), archive.manifest["precision"], device),
            config=config,
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
    def net(self) -> LSeg:
        """The network itself, as it lies on the device."""
        return self.network.net

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
        mode: str | None = None,
    ) -> Segmentation:
        """Segment one image: a file's path or bytes, or RGB pixels uint8 [H, W, 3].

        `mode` is fast or accurate; without it, what the configuration says.

        Raises:
            InvalidRequestError: the image, the labels or the mode cannot be used; see the tree in `segmenter.errors`.
        """
        mode = mode or self.config.mode
        if mode not in MODES:
            raise InvalidOptionError(f"mode is {mode!r}; accepted: {', '.join(MODES)}", "mode")
        if isinstance(image, str | Path):
            image = Path(image).read_bytes()
        pixels = decode_image(image, self.config.max_image_pixels) if isinstance(image, bytes) else image
        checked = None if labels is None else checked_labels(labels, self.config)
        return self.segment_batch([Job(pixels, checked, threshold, mode=mode)])[0]

    @torch.no_grad()
    def segment_batch(self, jobs: Sequence[Job]) -> list[Segmentation]:
        """Segment several images, each with its own labels; those of one bucket go through the network together.

        So do the windows of all images in accurate mode.

        Raises:
            InvalidLabelsError: labels that are not checked yet, or none where the model has no label set.
        """
        seconds: list[dict[str, float]] = [{} for _ in jobs]
        labels, text = self._encode_text(jobs, seconds)
        work = [Work(index, job, labels[index], text[index], seconds[index]) for index, job in enumerate(jobs)]
        results = [
            *self._segment_fast([one for one in work if one.job.mode == "fast"]),
            *self._segment_accurate([one for one in work if one.job.mode == "accurate"]),
        ]
        return [result for _, result in sorted(results, key=lambda pair: pair[0])]

    def _segment_fast(self, work: Sequence[Work]) -> Iterator[tuple[int, Segmentation]]:
        buckets = [choose_bucket(self.shapes.buckets, *one.size) for one in work]
        for bucket in dict.fromkeys(buckets):
            fresh: list[tuple[Work, FeatureKey | None]] = []
            for one in (one for one, own in zip(work, buckets, strict=True) if own == bucket):
                key, features = self._known_features(one, bucket)
                if features is None:
                    fresh.append((one, key))
                else:
                    yield from self._finish([one], features, bucket)
            waiting = iter(fresh)
            for size in self.shapes.split(len(fresh)):
                yield from self._segment_together(list(itertools.islice(waiting, size)), bucket, size)

    def _known_features(self, one: Work, bucket: Bucket) -> tuple[FeatureKey | None, Tensor | None]:
        """An image's key in the cache, and its features if the network has seen it before at this size."""
        if self.feature_cache is None:
            return None, None
        with _timed("image", [one.seconds]):
            key = feature_key(one.job.image, (bucket.height, bucket.width))
            return key, self.feature_cache.get(key)

    def _segment_together(
        self, fresh: Sequence[tuple[Work, FeatureKey | None]], bucket: Bucket, size: int
    ) -> Iterator[tuple[int, Segmentation]]:
        """One pass of the network for images of one bucket, `size` of them with those that fill it up."""
        batch = [one for one, _ in fresh]
        with _timed("image", [one.seconds for one in batch]):
            features = self.network.features([resize_to_bucket(one.job.image, bucket) for one in batch], size)
            if self.feature_cache is not None:
                for (_, key), own in zip(fresh, features.split(1), strict=False):
                    if key is not None:
                        self.feature_cache.put(key, own)
        yield from self._finish(batch, features, bucket)

    def _finish(self, batch: Sequence[Work], features: Tensor, bucket: Bucket) -> Iterator[tuple[int, Segmentation]]:
        """From the features [B, F+4, P] of a batch to its results."""
        with _timed("image", [one.seconds for one in batch]):
            scores = self.network.scores_of(features, [one.text for one in batch], bucket.height, bucket.width)
        for one, own in zip(batch, scores, strict=True):
            with _timed("mask", [one.seconds]):
                mask = one.mask(bucket_logits(own, bucket, *one.size))
            yield one.index, one.result(mask, bucket, own)

    def _segment_accurate(self, work: Sequence[Work]) -> Iterator[tuple[int, Segmentation]]:
        """Each image's mask is made as soon as its last window is through, so that few wait in memory."""
        params = self.config.accurate
        for place, collector in self._collect_scores(work):
            one = work[place]
            with _timed("mask", [one.seconds]):
                mask = one.mask(collector.sum(), temperature=params.divisor)
                overview = collector.overview()
            del collector  # its scores must not outlive it while the next image's are collected
            yield one.index, one.result(mask, self.shapes.window, overview)

    def _collect_scores(self, work: Sequence[Work]) -> Iterator[tuple[int, ScoreCollector]]:
        """The scores of each image's windows, those of all images in batches together."""
        params = self.config.accurate
        collectors = {place: ScoreCollector(*one.size, params) for place, one in enumerate(work)}
        crops = make_crops([one.job.image for one in work], params)
        for size in self.shapes.split(sum(collector.missing for collector in collectors.values())):
            start = time.perf_counter()
            batch = list(itertools.islice(crops, size))
            scores = self.network.scores(
                [crop.pixels for crop in batch], [work[crop.image].text for crop in batch], size
            )
            for crop, own in zip(batch, scores, strict=True):
                collectors[crop.image].add(crop, own)
            members = dict.fromkeys(crop.image for crop in batch)
            _add_time("image", [work[place].seconds for place in members], start)
            for place in members:
                if not collectors[place].missing:
                    yield place, collectors.pop(place)

    @torch.no_grad()
    def accurate_scores(self, image: Pixels, labels: Sequence[str]) -> Tensor:
        """Scores of `labels` for `image` [H, W, 3] in accurate mode, lang-seg's sum of logits: float32 [K, H, W].

        The whole map at once, for small images; masks are made without it.
        """
        work = Work(
            0, Job(image, tuple(labels), mode="accurate"), tuple(labels), self.text_cache.embeddings(labels), {}
        )
        ((_, collector),) = self._collect_scores([work])
        return assembled(collector.sum())

    def forget_images(self) -> None:
        """Give back the memory of the images seen before."""
        if self.feature_cache is not None:
            self.feature_cache.clear()

    def check_tokens(self, labels: Sequence[str]) -> None:
        """Raise InvalidLabelsError for labels that the text tower cannot take; known labels cost nothing."""
        if not labels:
            raise InvalidLabelsError("labels is missing, and this model was exported without a label set")
        unknown = [label for label in labels if label not in self.text_cache]
        if not unknown:
            return
        try:
            tokenize(unknown, self.architecture.context_length)
        except ValueError as error:
            raise InvalidLabelsError(str(error)) from error

    def warm_up(self) -> WarmUp:
        """Run the network before the first request does, so that none pays for what a first run costs."""
        self.warmed = warm_up(self.network, self.config.hpu)
        return self.warmed

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


@contextmanager
def _timed(stage: str, timings: Sequence[dict[str, float]]) -> Iterator[None]:
    """Add the seconds that the block takes to `stage`, an equal share to each of `timings`."""
    start = time.perf_counter()
    yield
    _add_time(stage, timings, start)


def _add_time(stage: str, timings: Sequence[dict[str, float]], start: float) -> None:
    share = (time.perf_counter() - start) / len(timings)
    for timing in timings:
        timing[stage] = timing.get(stage, 0.0) + share
