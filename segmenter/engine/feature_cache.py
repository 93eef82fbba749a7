"""Features of images seen before: what an image costs does not depend on the labels, so new words cost little."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache
from torch import Tensor


@dataclass(frozen=True)
class FeatureKey:
    """An image's content, and the size (height, width) at which the network saw it."""

    digest: bytes
    size: tuple[int, int]


@dataclass
class FeatureCounts:
    """How often an image was known, how often the network had to see it, and what is held."""

    hits: int = 0
    misses: int = 0
    bytes: int = 0


def feature_key(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> FeatureKey:
    """The key of the decoded `image` [H, W, 3] at `size`.

    Of the pixels and not of the file: the same picture in another format, or turned by EXIF, is the same. Nobody can
    make two images that have the same one. Processors have instructions for SHA-256, which takes 2 ms a megapixel with
    them and half as long as BLAKE2.
    """
    digest = hashlib.sha256(np.ascontiguousarray(image).data)
    digest.update(repr(image.shape).encode())
    return FeatureKey(digest.digest(), size)


class FeatureCache:
    """Features by image; beyond `max_bytes` the least recently used are dropped. 0 keeps nothing.

    Entries stay where the network made them (host or device), one image in each, and are never written to.
    """

    def __init__(self, max_bytes: int) -> None:
        self._features: LRUCache[FeatureKey, Tensor] = LRUCache(max_bytes, getsizeof=lambda features: features.nbytes)
        self.counts = FeatureCounts()

    def __len__(self) -> int:
        return len(self._features)

    def get(self, key: FeatureKey) -> Tensor | None:
        """The features [1, C, ...] of an image; None where they are not in the cache."""
        found = self._features.get(key)
        if found is None:
            self.counts.misses += 1
        else:
            self.counts.hits += 1
        return found

    def put(self, key: FeatureKey, features: Tensor) -> None:
        """Keep `features` [1, C, ...], where they alone do not exceed the limit."""
        if key in self._features or features.nbytes > self._features.maxsize:
            return
        # A copy where they are a part of a batch: a view would keep the whole of it alive, uncounted.
        whole = features.untyped_storage().nbytes() <= features.nbytes
        self._features[key] = features if whole else features.clone()
        self.counts.bytes = int(self._features.currsize)

    def clear(self) -> None:
        """Drop everything, such as when memory runs out; the counts of hits and misses stay."""
        self._features.clear()
        self.counts.bytes = 0
