"""The embeddings of labels. An embedding depends on its label alone, so each label is encoded once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from cachetools import LRUCache
from torch import Tensor


@dataclass
class CacheCounts:
    """How often a label was in the cache, and how often it had to be encoded."""

    hits: int = 0
    misses: int = 0


class TextCache:
    """Embeddings by label: those that are pinned, and up to `size` others, the least recently used dropped for room.

    Any number of threads may use it. None waits while another encodes, so two of them may encode the same new label.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], size: int) -> None:
        self._encode = encode
        self._pinned: dict[str, Tensor] = {}
        self._recent: LRUCache[str, Tensor] = LRUCache(size)
        self._lock = threading.Lock()
        self.counts = CacheCounts()

    def __contains__(self, label: str) -> bool:
        with self._lock:
            return label in self._pinned or label in self._recent

    def __len__(self) -> int:
        with self._lock:
            return len(self._pinned) + len(self._recent)

    def pin(self, labels: Iterable[str], embeddings: Iterable[Tensor]) -> None:
        """Keep `embeddings` [K, E] for good: those exported with the model, which most requests use."""
        with self._lock:
            self._pinned.update(_copied(labels, embeddings))

    def embeddings(self, labels: Sequence[str]) -> Tensor:
        """Unit embeddings of `labels`: [K, E]. Labels that are not in the cache are encoded together.

        Raises:
            ValueError: the text tower cannot take one of them; then none is remembered.
        """
        with self._lock:
            found = {label: own for label in labels if (own := self._get(label)) is not None}
            new = list(dict.fromkeys(label for label in labels if label not in found))
            self.counts.hits += len(labels) - len(new)
            self.counts.misses += len(new)
        if new:
            encoded = _copied(new, self._encode(new))
            found.update(encoded)
            with self._lock:
                self._recent.update(encoded)
        return torch.stack([found[label] for label in labels])

    def _get(self, label: str) -> Tensor | None:
        return self._pinned[label] if label in self._pinned else self._recent.get(label)


def _copied(labels: Iterable[str], embeddings: Iterable[Tensor]) -> dict[str, Tensor]:
    """Each embedding alone by its label: a row would keep the whole tensor that it is a part of in memory."""
    return {label: embedding.clone() for label, embedding in zip(labels, embeddings, strict=True)}
