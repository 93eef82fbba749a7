"""The text cache: each label is encoded once, and the result never depends on what is remembered."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from lseg_serve.model import LSeg, text_encoder
from lseg_serve.segmenter.engine.text_cache import TextCache


class Encoder:
    """Encodes a label as its length and its first character, and writes down what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, labels: Sequence[str]) -> Tensor:
        self.calls.append(list(labels))
        if "bad" in labels:
            raise ValueError("'bad' cannot be encoded")
        return embeddings(*labels)


def embeddings(*labels: str) -> Tensor:
    return torch.tensor([[float(len(label)), float(ord(label[0]))] for label in labels])


def test_rows_stand_in_the_order_of_the_labels() -> None:
    cache = TextCache(Encoder(), size=10)
    assert torch.equal(cache.embeddings(["cat", "a bird"]), embeddings("cat", "a bird"))
    assert torch.equal(cache.embeddings(["dog", "a bird", "zebra", "cat"]), embeddings("dog", "a bird", "zebra", "cat"))


def test_a_label_is_encoded_once_and_unknown_ones_together() -> None:
    encoder = Encoder()
    cache = TextCache(encoder, size=10)
    cache.embeddings(["cat", "dog"])
    cache.embeddings(["bird", "cat", "fish", "dog"])
    cache.embeddings(["fish"])
    assert encoder.calls == [["cat", "dog"], ["bird", "fish"]]
    assert (cache.counts.hits, cache.counts.misses) == (3, 4)
    assert len(cache) == 4


def test_a_label_twice_in_one_call_is_encoded_once_and_answered_twice() -> None:
    encoder = Encoder()
    cache = TextCache(encoder, size=10)
    assert torch.equal(cache.embeddings(["cat", "dog", "cat"]), embeddings("cat", "dog", "cat"))
    assert encoder.calls == [["cat", "dog"]]
    assert (cache.counts.hits, cache.counts.misses) == (1, 2)


def test_labels_are_told_apart_to_the_letter() -> None:
    encoder = Encoder()
    cache = TextCache(encoder, size=10)
    for label in ("cat", "Cat", "cat "):
        cache.embeddings([label])
    assert encoder.calls == [["cat"], ["Cat"], ["cat "]]


def test_beyond_its_size_the_least_recently_used_label_is_dropped() -> None:
    encoder = Encoder()
    cache = TextCache(encoder, size=2)
    cache.embeddings(["cat"])
    cache.embeddings(["dog"])
    cache.embeddings(["cat"])
    cache.embeddings(["fish"])  # in place of dog
    assert len(cache) == 2
    encoder.calls.clear()
    cache.embeddings(["cat", "fish"])
    assert encoder.calls == []
    cache.embeddings(["dog"])
    assert encoder.calls == [["dog"]]


def test_more_labels_in_one_call_than_it_can_hold_are_all_answered() -> None:
    cache = TextCache(Encoder(), size=2)
    labels = [letter * 3 for letter in "abcdef"]
    for _ in range(2):
        assert torch.equal(cache.embeddings(labels), embeddings(*labels))
        assert len(cache) == 2


def test_what_is_known_from_elsewhere_is_never_encoded() -> None:
    encoder = Encoder()
    cache = TextCache(encoder, size=10)
    known = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    cache.pin(["cat", "dog"], known)
    assert torch.equal(cache.embeddings(["dog", "cat"]), known.flip(0))
    assert encoder.calls == []


def test_pinned_labels_outlast_any_number_of_others() -> None:
    encoder = Encoder()
    cache = TextCache(encoder, size=2)
    known = torch.arange(6.0).view(3, 2)
    cache.pin(["cat", "dog", "fish"], known)
    for number in range(500):
        cache.embeddings([f"label {number}", "cat", f"other {number}"])
    assert len(cache) == 3 + 2
    assert all(label in cache for label in ("cat", "dog", "fish"))
    encoder.calls.clear()
    assert torch.equal(cache.embeddings(["fish", "dog", "cat"]), known.flip(0))
    assert encoder.calls == []


def test_as_many_embeddings_as_labels_must_be_pinned() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        TextCache(Encoder(), size=10).pin(["cat", "dog"], torch.zeros(1, 2))


def test_an_error_of_the_encoder_leaves_the_cache_as_it_was() -> None:
    encoder = Encoder()
    cache = TextCache(encoder, size=2)
    cache.embeddings(["cat", "dog"])
    for _ in range(2):  # the label is not remembered as known either
        with pytest.raises(ValueError, match="'bad' cannot be encoded"):
            cache.embeddings(["fish", "bad", "cat"])
    assert len(cache) == 2
    encoder.calls.clear()
    assert torch.equal(cache.embeddings(["cat", "dog"]), embeddings("cat", "dog"))
    assert encoder.calls == []


def test_cached_embeddings_are_those_of_the_network(small_net: LSeg) -> None:
    with torch.no_grad():
        cache = TextCache(small_net.encode_labels, size=10)
        cache.embeddings(["a cat", "日本"])
        found = cache.embeddings(["sky", "日本", "a cat"])
        torch.testing.assert_close(found, small_net.encode_labels(["sky", "日本", "a cat"]), rtol=0, atol=1e-5)


def test_a_label_kept_does_not_keep_the_others_of_its_request() -> None:
    """A row of a larger tensor would hold all of it in memory for as long as the label is remembered."""
    encoded: list[weakref.ref[np.ndarray]] = []

    def encode(labels: Sequence[str]) -> Tensor:
        memory = np.zeros((len(labels), 2), np.float32)
        encoded.append(weakref.ref(memory))
        return torch.from_numpy(memory)  # the tensor and its rows keep `memory` alive

    cache = TextCache(encode, size=1_000)
    cache.embeddings([f"label {number}" for number in range(200)])
    gc.collect()
    assert len(cache) == 200
    assert len(encoded) == 1
    assert encoded[0]() is None


def test_the_tokenizer_forgets_words_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_encoder, "_MOST_WORDS", 50)
    before = text_encoder.tokenize(["traffic light"])
    for number in range(100):
        text_encoder.tokenize([f"w{number}ord"])
    # The tokenizer is a third party's and has no public way to see what it holds. `clip` is importable only after
    # the model is.
    from clip import clip

    assert len(clip._tokenizer.cache) < 60
    assert torch.equal(text_encoder.tokenize(["traffic light"]), before)
