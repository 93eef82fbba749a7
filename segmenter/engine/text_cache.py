"""The embeddings of labels. An embedding depends on its label alone, so each label is encoded once."""

from __future__ import annotations

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
    """Embeddings by label, for up to `size` labels; the least recently used are dropped to make room."""

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], size: int) -> None:
        self._encode = encode
        self._embeddings: LRUCache[str, Tensor] = LRUCache(size)
        self.counts = CacheCounts()

    def __contains__(self, label: str) -> bool:
        return label in self._embeddings

    def __len__(self) -> int:
        return len(self._embeddings)

    def remember(self, labels: Iterable[str], embeddings: Iterable[Tensor]) -> None:
        """Keep `embeddings` [K, E] that are there already, such as those exported with the model."""
        for label, embedding in zip(labels, embeddings, strict=True):
            # Copied, because a row would keep the whole tensor that it is a part of in memory.
            self._embeddings[label] = embedding.clone()

    def embeddings(self, labels: Sequence[str]) -> Tensor:
        """Unit embeddings of `labels`: [K, E]. Labels that are not in the cache are encoded together.

        Raises:
            ValueError: the text tower cannot take one of them; then none is remembered.
        """
        found = {label: self._embeddings[label] for label in labels if label in self._embeddings}
        new = list(dict.fromkeys(label for label in labels if label not in found))
        self.counts.hits += len(labels) - len(new)
        self.counts.misses += len(new)
        if new:
            encoded = self._encode(new)
            found.update(zip(new, encoded, strict=True))
            self.remember(new, encoded)
        return torch.stack([found[label] for label in labels])
