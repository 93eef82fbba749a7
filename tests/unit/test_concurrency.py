"""Several threads may use one segmenter: each gets what it would get alone, and the caches count right."""

from __future__ import annotations

import io
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pytest
import torch
from PIL import Image

from lseg_serve.model import LSeg, text_encoder
from lseg_serve.segmenter import Config, Segmenter, StaticImageSizeParams, decode_image
from lseg_serve.segmenter.engine.feature_cache import FeatureCache, FeatureKey
from lseg_serve.segmenter.engine.text_cache import TextCache
from tests.support.pictures import encoded, gradient, noise

THREADS = 8
CONFIG = Config(
    device="cpu",
    static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1), (2, 3)), short_sizes=(32,)),
    text_cache_size=4,
    feature_cache_megabytes=1,
)

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    """Let Python go from one thread to another after every few instructions, so that a race shows itself soon."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def _at_once(work: Callable[[int], T]) -> list[T]:
    """What `work` returns in each of the threads, which begin together; an error in one of them is raised."""
    ready = threading.Barrier(THREADS)

    def begin(number: int) -> T:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(begin, range(THREADS)))


def test_masks_of_eight_threads_are_those_of_one(small_net: LSeg) -> None:
    """Both caches are too small for what is asked, so that they drop entries all the time."""
    label_set = ("sky", "ground")
    words = ("a cat", "a red car", "日本", "rain", "grass", "a very long label of many words", "sea")
    asked = [
        (noise(32, 32 + 8 * (step % 3), step % 5), words[step % 5 : step % 5 + 1 + step % 3]) for step in range(12)
    ]
    shared = Segmenter(
        small_net, config=CONFIG, label_set=label_set, label_embeddings=small_net.encode_labels(label_set)
    )
    alone = Segmenter(small_net, config=CONFIG)
    expected = [alone.segment(image, labels).scores for image, labels in asked]
    expected_set = alone.segment(asked[0][0], label_set).scores

    def work(number: int) -> None:
        torch.set_num_threads(1)
        for step in range(len(asked)):
            place = (step * (number + 1)) % len(asked)
            found = shared.segment(*asked[place])
            assert found.labels == asked[place][1]
            torch.testing.assert_close(found.scores, expected[place], rtol=0, atol=1e-4)
            torch.testing.assert_close(shared.segment(asked[0][0]).scores, expected_set, rtol=0, atol=1e-4)

    _at_once(work)
    assert shared.feature_cache is not None
    counts = shared.feature_cache.counts
    assert counts.hits + counts.misses == THREADS * len(asked) * 2


def test_a_text_cache_loses_no_count_and_holds_no_more_than_it_may() -> None:
    cache = TextCache(lambda labels: torch.tensor([[float(label)] for label in labels]), size=3)
    cache.pin(["0", "1"], torch.tensor([[0.0], [1.0]]))
    rounds = 2_000

    def work(number: int) -> None:
        random = np.random.default_rng(number)
        for _ in range(rounds):
            labels = [str(label) for label in random.integers(0, 12, 6)]
            found = cache.embeddings(labels)
            assert found[:, 0].tolist() == [float(label) for label in labels]

    _at_once(work)
    assert len(cache) <= 5
    distinct = sum(len({*row}) for number in range(THREADS) for row in _drawn(np.random.default_rng(number), rounds))
    assert cache.counts.hits + cache.counts.misses == THREADS * rounds * 6
    assert cache.counts.misses <= distinct


def _drawn(random: np.random.Generator, rounds: int) -> Iterator[list[int]]:
    return (random.integers(0, 12, 6).tolist() for _ in range(rounds))


def test_a_feature_cache_gives_each_key_its_own_and_counts_its_bytes() -> None:
    size = 4 * 25
    cache = FeatureCache(5 * size)
    rounds = 3_000

    def work(number: int) -> None:
        random = np.random.default_rng(number)
        for step in range(rounds):
            which = int(random.integers(0, 12))
            key = FeatureKey(bytes([which]), (96, 96))
            found = cache.get(key)
            assert found is None or float(found[0, 0, 0]) == which
            cache.put(key, torch.full((1, 5, 5), float(which)))
            if step % 100 == 99:
                cache.clear()

    _at_once(work)
    assert cache.counts.hits + cache.counts.misses == THREADS * rounds
    assert cache.counts.bytes == len(cache) * size <= 5 * size


def test_words_are_split_right_while_the_tokenizer_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [[f"w{number}ord of{step} glass" for step in range(40)] for number in range(THREADS)]
    expected = [text_encoder.tokenize(own) for own in labels]
    monkeypatch.setattr(text_encoder, "_MOST_WORDS", 3)

    def work(number: int) -> None:
        for label, tokens in zip(labels[number], expected[number], strict=True):
            found = text_encoder.tokenize([label])[0]
            assert torch.equal(found, tokens[: len(found)])

    _at_once(work)


def test_decoding_leaves_the_programs_warnings_as_they_were() -> None:
    """Pillow warns of this file; eight threads that each put the list of filters back must not mix up theirs."""
    with_odd_metadata = io.BytesIO()
    Image.fromarray(gradient(30, 40)).convert("P").save(with_odd_metadata, "PNG", transparency=bytes(range(256)))
    files = [with_odd_metadata.getvalue(), encoded(gradient(30, 40), "JPEG"), encoded(gradient(30, 40))]
    before = list(warnings.filters)

    def work(number: int) -> None:
        for step in range(200):
            assert decode_image(files[(step + number) % 3], 10_000).shape == (30, 40, 3)

    _at_once(work)
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", stacklevel=1)
