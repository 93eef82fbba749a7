"""The embeddings of words. They depend on the word and its templates alone, so each is encoded once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from cachetools import LRUCache
from torch import Tensor

from lseg_serve.segmenter.engine.prompts import encode_words


@dataclass
class CacheCounts:
    """How often a word was in the cache, and how often it had to be encoded."""

    hits: int = 0
    misses: int = 0


# A word, and the templates that it stands in; none for the word as it is.
_Key = tuple[str, tuple[str, ...]]


class TextCache:
    """Embeddings by word and templates: those pinned, and up to `size` others, the least recently used ones dropped.

    Any number of threads may use it. None waits while another encodes, so two of them may encode the same new word.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], size: int) -> None:
        self._encode = encode
        self._pinned: dict[_Key, Tensor] = {}
        self._recent: LRUCache[_Key, Tensor] = LRUCache(size)
        self._lock = threading.Lock()
        self.counts = CacheCounts()

    def __contains__(self, word: str) -> bool:
        """Whether `word` as it is, in no template, is in the cache."""
        with self._lock:
            return (word, ()) in self._pinned or (word, ()) in self._recent

    def __len__(self) -> int:
        with self._lock:
            return len(self._pinned) + len(self._recent)

    def pin(self, words: Iterable[str], embeddings: Iterable[Tensor], templates: tuple[str, ...] = ()) -> None:
        """Keep `embeddings` [K, E] for good: those of the model's own label set, which most requests use."""
        with self._lock:
            self._pinned.update(_copied(((word, templates) for word in words), embeddings))

    def embeddings(self, words: Sequence[str], templates: tuple[str, ...] = ()) -> Tensor:
        """Unit embeddings of `words` in `templates`: [K, E]. Those that are not in the cache are encoded together.

        Raises:
            ValueError: the text tower cannot take one of them; then none is remembered.
        """
        keys = [(word, templates) for word in words]
        with self._lock:
            found = {key: own for key in keys if (own := self._get(key)) is not None}
            new = list(dict.fromkeys(key for key in keys if key not in found))
            self.counts.hits += len(keys) - len(new)
            self.counts.misses += len(new)
        if new:
            encoded = _copied(new, encode_words(self._encode, [word for word, _ in new], templates))
            found.update(encoded)
            with self._lock:
                self._recent.update(encoded)
        return torch.stack([found[key] for key in keys])

    def _get(self, key: _Key) -> Tensor | None:
        return self._pinned[key] if key in self._pinned else self._recent.get(key)


def _copied(keys: Iterable[_Key], embeddings: Iterable[Tensor]) -> dict[_Key, Tensor]:
    """Each embedding alone by its key: a row would keep the whole tensor that it is a part of in memory."""
    return {key: embedding.clone() for key, embedding in zip(keys, embeddings, strict=True)}
