"""The features of images that the network has seen before.

An image's features take most of a request's time, and do not depend on its labels. So a request with other labels for
the same image is fast.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache
from torch import Tensor


@dataclass(frozen=True)
class FeatureKey:
    """A digest of an image's pixels, and the size (height, width) at which the network saw the image."""

    digest: bytes
    size: tuple[int, int]


@dataclass
class FeatureCounts:
    """How often an image was in the cache, how often it was not, and the bytes held."""

    hits: int = 0
    misses: int = 0
    bytes: int = 0


def feature_key(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> FeatureKey:
    """The key of the decoded `image` [H, W, 3] at `size`.

    The pixels are hashed and not the file, so that the same image in another format has the same key.
    The hash is a cryptographic one, so that nobody can make two images with the same key. SHA-256 takes 2 ms a
    megapixel, half as long as BLAKE2, because processors have instructions for it.
    """
    digest = hashlib.sha256(np.ascontiguousarray(image).data)
    digest.update(repr(image.shape).encode())
    return FeatureKey(digest.digest(), size)


class FeatureCache:
    """Features by image, up to `max_bytes`; 0 keeps nothing.

    The least recently used entries are dropped to make room. Each entry holds one image's features. They stay where
    the network made them, on the host or on the device, and are never written to. Any number of threads may use it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._features: LRUCache[FeatureKey, Tensor] = LRUCache(max_bytes, getsizeof=lambda features: features.nbytes)
        self._lock = threading.Lock()
        self.counts = FeatureCounts()

    def __len__(self) -> int:
        with self._lock:
            return len(self._features)

    def get(self, key: FeatureKey) -> Tensor | None:
        """The features [1, C, ...] of an image; None if they are not in the cache."""
        with self._lock:
            found = self._features.get(key)
            if found is None:
                self.counts.misses += 1
            else:
                self.counts.hits += 1
        return found

    def put(self, key: FeatureKey, features: Tensor) -> None:
        """Keep `features` [1, C, ...], unless they alone exceed the limit."""
        with self._lock:
            if key in self._features or features.nbytes > self._features.maxsize:
                return
            # Features that are a view into a batch are copied: the view would keep the whole batch, uncounted.
            whole = features.untyped_storage().nbytes() <= features.nbytes
            self._features[key] = features if whole else features.clone()
            self.counts.bytes = int(self._features.currsize)

    def clear(self) -> None:
        """Drop all entries, for instance when memory runs out. The counts of hits and misses stay."""
        with self._lock:
            self._features.clear()
            self.counts.bytes = 0
