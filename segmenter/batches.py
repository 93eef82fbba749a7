"""Jobs through the network, those of one shape together: whole images in fast mode, windows in accurate mode."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

from torch import Tensor

from lseg_serve.segmenter.config import AccurateParams
from lseg_serve.segmenter.engine.feature_cache import FeatureCache, FeatureKey, feature_key
from lseg_serve.segmenter.engine.network import Network
from lseg_serve.segmenter.engine.shapes import Shapes
from lseg_serve.segmenter.jobs import Segmentation, Task, add_network_time, network_timed
from lseg_serve.segmenter.masks.accurate import ScoreCollector, make_crops
from lseg_serve.segmenter.masks.mask import Mask, bucket_logits, make_mask
from lseg_serve.segmenter.masks.score_maps import ScoreMap
from lseg_serve.segmenter.preprocessing.buckets import Bucket, choose_bucket, resize_to_bucket


class Batches:
    """Passes of one network over tasks. Without a `cache`, features of images are not kept."""

    def __init__(self, network: Network, shapes: Shapes, params: AccurateParams, cache: FeatureCache | None) -> None:
        self._network, self._shapes, self._params, self._cache = network, shapes, params, cache

    def fast(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Segmentation]]:
        """One pass over each image; images of one bucket go through the network together."""
        buckets = [choose_bucket(self._shapes.buckets, *task.size) for task in tasks]
        for bucket in dict.fromkeys(buckets):
            together = [task for task, own in zip(tasks, buckets, strict=True) if own == bucket]
            for batch, features in self.features(together, bucket):
                with network_timed(batch):
                    texts = [task.text.embeddings for task in batch]
                    scores = self._network.scores_of(features, texts, bucket.height, bucket.width)
                for task, own in zip(batch, scores, strict=True):
                    start = time.perf_counter()
                    mask = _make_mask(task, bucket_logits(own, bucket, *task.size))
                    yield task, task.result(mask, time.perf_counter() - start, bucket, own)

    def features(self, tasks: Sequence[Task], bucket: Bucket) -> Iterator[tuple[Sequence[Task], Tensor]]:
        """The features [B, F+4, P] of images of one bucket: first those in the cache, then the others in batches."""
        keys: dict[Task, FeatureKey] = {}
        missing = []
        for task in tasks:
            features = None
            if self._cache is not None:
                with network_timed([task]):
                    keys[task] = feature_key(task.job.image, (bucket.height, bucket.width))
                    features = self._cache.get(keys[task])
            if features is None:
                missing.append(task)
            else:
                yield [task], features
        waiting = iter(missing)
        for size in self._shapes.split_images(len(missing)):
            batch = list(itertools.islice(waiting, size))
            with network_timed(batch):
                features = self._network.features([resize_to_bucket(task.job.image, bucket) for task in batch], size)
                if self._cache is not None:
                    for task, own in zip(batch, features.split(1), strict=False):
                        self._cache.put(keys[task], own)
            yield batch, features

    def accurate(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Segmentation]]:
        """Each image's mask is made as soon as its last window is through, so that few wait in memory."""
        for task, collector in self.collected(tasks):
            start = time.perf_counter()
            mask = _make_mask(task, collector.sum(), temperature=self._params.divisor)
            overview = collector.overview() if task.job.with_score_map else None
            seconds = time.perf_counter() - start
            del collector  # its scores must not outlive it while the next image's are collected
            yield task, task.result(mask, seconds, self._shapes.window, overview)

    def collected(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, ScoreCollector]]:
        """The scores of each image's windows, those of all images in batches together."""
        params = self._params
        collectors = {task: ScoreCollector(*task.size, params) for task in tasks}
        crops = make_crops([task.job.image for task in tasks], params)
        for size in self._shapes.split_windows(sum(collector.missing for collector in collectors.values())):
            start = time.perf_counter()
            batch = list(itertools.islice(crops, size))
            members = [tasks[crop.image] for crop in batch]
            texts = [task.text.embeddings for task in members]
            scores = self._network.scores([crop.pixels for crop in batch], texts, size)
            for crop, task, own in zip(batch, members, scores, strict=True):
                collectors[task].add(crop, own)
            distinct = list(dict.fromkeys(members))
            add_network_time(distinct, start)
            for task in distinct:
                if not collectors[task].missing:
                    yield task, collectors.pop(task)


def _make_mask(task: Task, logits: ScoreMap, temperature: float = 1.0) -> Mask:
    job = task.job
    return make_mask(logits, threshold=job.threshold, with_scores=job.with_scores, temperature=temperature)
