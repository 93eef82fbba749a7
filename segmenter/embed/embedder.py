"""Images in, embeddings out: the map of a whole image, or the vectors at points of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lseg_serve.embeddings import Embeddings, PointsError, checked_points
from lseg_serve.embeddings.embeddings import LOGIT_SCALE
from lseg_serve.embeddings.points import Points
from lseg_serve.segmenter.config import AccurateParams, Config
from lseg_serve.segmenter.cost import CostModel
from lseg_serve.segmenter.embed.head import FeatureMap, Head, as_half
from lseg_serve.segmenter.embed.options import EmbedOptions
from lseg_serve.segmenter.embed.windows import Geometry, MapSums, PointSums, Sums
from lseg_serve.segmenter.engine.network import Network
from lseg_serve.segmenter.engine.shapes import Shapes
from lseg_serve.segmenter.errors import InvalidLabelsError, InvalidOptionError
from lseg_serve.segmenter.jobs import EncodedLabels
from lseg_serve.segmenter.masks.accurate import make_crops
from lseg_serve.segmenter.preprocessing.buckets import Bucket, choose_bucket
from lseg_serve.segmenter.preprocessing.decoding import Pixels
from lseg_serve.segmenter.preprocessing.inputs import checked_pixels

Vectors = npt.NDArray[np.float16] | npt.NDArray[np.float32]
# The features [F+4, P] of an image at the size of a bucket, from the cache or the network, on the host.
FeatureSource = Callable[[Pixels, Bucket], Tensor]
LabelSource = Callable[[Sequence[str] | EncodedLabels | None], EncodedLabels]


@dataclass(frozen=True)
class EmbedJob:
    """What is to be embedded: an image, or points of it, and labels; without an image, the labels alone."""

    image: Pixels | None = None  # [H, W, 3], RGB
    labels: EncodedLabels | Sequence[str] | None = None
    points: Points | None = None  # [N, 2], of x and y in pixels; None: the map of the whole image
    options: EmbedOptions = field(default_factory=EmbedOptions)


@dataclass(frozen=True)
class Embedding:
    """What a job gave."""

    mode: str  # fast, accurate, a preset's name, or text where there was no image
    embeddings: Embeddings | None  # the map; None where points were asked for, or no image was given
    points: Points | None = None
    vectors: Vectors | None = None  # [N, E], at the points
    image_size: tuple[int, int] | None = None  # height and width
    labels: EncodedLabels | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # by stage: text, network, embed


@dataclass(frozen=True)
class Plan:
    """A job whose every option was checked, before anything is computed."""

    image: Pixels
    points: Points | None
    mode: str
    dtype: str
    params: AccurateParams | None  # of the windows; None in fast mode
    bucket: Bucket  # the size at which the network sees the image, or each window of it
    geometry: Geometry | None
    values: int  # numbers of the result

    @property
    def bytes(self) -> int:
        """Of the result."""
        return self.values * int(np.dtype(self.dtype).itemsize)

    @property
    def passes(self) -> int:
        """How many images or windows go through the network."""
        if self.geometry is None or self.params is None:
            return 1
        return self.params.passes * sum(len(plan.windows) for plan in self.geometry.plans)


class Embedder:
    """Embeddings by one network. `features` gives those of whole images, which are cached; `labels` encodes labels."""

    def __init__(
        self,
        network: Network,
        shapes: Shapes,
        config: Config,
        head: Head,
        features: FeatureSource,
        labels: LabelSource,
    ) -> None:
        self._network, self._shapes, self._config = network, shapes, config
        self._head, self._features, self._labels = head, features, labels

    def check(self, job: EmbedJob, costs: CostModel | None, share: int = 1) -> int:
        """The bytes that the embeddings of `job`, one of `share` in its request, will take, once it is checked.

        Raises:
            InvalidRequestError: what is not accepted, or would take longer than `max_request_seconds`.
        """
        plan, most = self.plan(job), self._config.max_request_seconds / share
        if isinstance(job.labels, EncodedLabels):
            job.labels.check_ungrouped()
        if plan is None:
            return 0
        if costs is not None and most:
            costs.check_passes(plan.passes * plan.bucket.height * plan.bucket.width, plan.passes, most)
        return plan.bytes

    @torch.no_grad()
    def embed(self, job: EmbedJob) -> Embedding:
        """The embeddings that `job` asks for, with those of its labels.

        Raises:
            InvalidRequestError: it cannot be used.
        """
        plan = self.plan(job)
        labels = None if job.labels is None else self._labels(job.labels)
        if labels is not None:
            labels.check_ungrouped()
        if plan is None and labels is None:
            raise InvalidLabelsError("there is no image and there are no labels; accepted: one of them or both")
        result = Embedding("text", None) if plan is None else self._embed(plan)
        seconds = {"text": 0.0 if labels is None else labels.seconds, **result.seconds}
        found = result.embeddings
        if found is not None:
            found = found.with_encode(lambda texts: self._labels(texts).embeddings.numpy())
            if labels is not None:
                found = replace(found, labels=labels.labels, label_embeddings=labels.embeddings.numpy())
        return replace(result, embeddings=found, labels=labels, seconds=seconds)

    def plan(self, job: EmbedJob) -> Plan | None:
        """What `job` needs, checked; None where it has no image.

        Raises:
            InvalidRequestError: an image, points or options that are not accepted.
        """
        mode, config = job.options.checked_mode(self._config), self._config
        if job.image is None:
            if job.points is not None:
                raise InvalidOptionError("points is given without an image; accepted: points of an image", "points")
            return None
        image = checked_pixels(job.image, config.max_image_pixels)
        height, width = image.shape[:2]
        try:
            points = None if job.points is None else checked_points(job.points, height, width, config.max_points)
        except PointsError as error:
            raise InvalidOptionError(str(error), "points") from error
        dtype, size = job.options.dtype, self._head.size
        if mode == "fast":
            bucket = choose_bucket(self._shapes.buckets, height, width)
            cells = (bucket.height // 4) * (bucket.width // 4) if points is None else len(points)
            return Plan(image, points, mode, dtype, None, bucket, None, cells * size)
        only = self._shapes.window.height if self._network.device.compiles_each_shape else None
        params = job.options.windows(config, height, width, self._network.net.architecture.stride, only)
        geometry = Geometry(mode, height, width, params)
        cells = int(np.prod(geometry.map_size)) if points is None else len(points)
        window = Bucket(params.crop_size, params.crop_size)
        return Plan(image, points, mode, dtype, params, window, geometry, cells * size)

    def _embed(self, plan: Plan) -> Embedding:
        start = time.perf_counter()
        if plan.geometry is None:
            found = FeatureMap.of(self._features(plan.image, plan.bucket), *_size(plan.bucket))
            network = time.perf_counter() - start
            vectors = (
                self._fast_map(found, plan) if plan.points is None else self._fast_points(found, plan, plan.points)
            )
        else:
            sums: PointSums | MapSums = (
                MapSums(plan.geometry, self._channels)
                if plan.points is None
                else PointSums(plan.geometry, plan.points, self._channels)
            )
            network = self._collect(plan, plan.geometry.params, sums)
            vectors = self._summed(plan, sums)
        result = self._result(plan, vectors)
        return replace(result, seconds={"network": network, "embed": time.perf_counter() - start - network})

    @property
    def _channels(self) -> int:
        return self._head.weight.shape[1]

    def _fast_map(self, found: FeatureMap, plan: Plan) -> Vectors:
        vectors = self._head.of_map(found)
        return as_half(vectors) if plan.dtype == "float16" else vectors

    def _fast_points(self, found: FeatureMap, plan: Plan, points: Points) -> Vectors:
        """The vectors that `Embeddings.at` gives, without the map: only the features under the points are needed."""
        quarter = np.empty((1, *found.features.shape[1:]), dtype=np.float32)  # only its size counts
        where = Embeddings(quarter, *plan.image.shape[:2])
        rows, columns = where.taps(points[:, 1], 0), where.taps(points[:, 0], 1)
        return self._head.of_sums(found.sums(rows, columns), plan.dtype, unit=True)

    def _collect(self, plan: Plan, params: AccurateParams, sums: Sums) -> float:
        """Add every window to `sums`; the seconds of the network."""
        crops, seconds = make_crops([plan.image], params), 0.0
        for size in self._shapes.split_windows(plan.passes):
            batch = list(itertools.islice(crops, size))
            start = time.perf_counter()
            on_device = self._network.features([crop.pixels for crop in batch], size)
            features = self._network.device.to_host(on_device)  # whole: to cut it there would be a graph
            seconds += time.perf_counter() - start
            for crop, own in zip(batch, features, strict=False):
                found = FeatureMap.of(own, *_size(plan.bucket))
                sums.add(crop, found.mirrored() if crop.mirrored else found)
        return seconds

    def _summed(self, plan: Plan, sums: PointSums | MapSums) -> Vectors:
        scale = {"vlmaps": LOGIT_SCALE, "openscene": 1.0}.get(plan.mode)
        if isinstance(sums, PointSums):
            return self._head.of_sums(sums.sums, plan.dtype, scale=scale or 1.0, unit=scale is None)
        divisor = plan.params.divisor if plan.params is not None else 1
        return self._head.of_summed_map(sums.sums, plan.dtype, scale=scale or 1 / divisor)

    def _result(self, plan: Plan, vectors: Vectors) -> Embedding:
        height, width = plan.image.shape[:2]
        if plan.points is not None:
            return Embedding(plan.mode, None, plan.points, vectors, (height, width))
        own = {"mode": plan.mode, "regularized": self._network.net.regularizer is not None}
        found = Embeddings(
            vectors,
            height,
            width,
            kind={"fast": "head", "openscene": "pixels"}.get(plan.mode, "corners"),  # type: ignore[arg-type]
            unit=plan.mode in ("fast", "accurate"),
            scale=1.0 if plan.mode == "vlmaps" else LOGIT_SCALE,
            about=own,
        )
        return Embedding(plan.mode, found, image_size=(height, width))


def _size(bucket: Bucket) -> tuple[int, int]:
    return bucket.height, bucket.width
