"""Features are found again by an image's content and size, and never take more than they may."""

from __future__ import annotations

import torch

from lseg_serve.segmenter.engine.feature_cache import FeatureCache, FeatureKey, feature_key
from tests.support.pictures import noise

_BYTES = 4 * 100  # of one entry made here


def _key(number: int) -> FeatureKey:
    return FeatureKey(bytes([number]), (96, 96))


def _features(number: int) -> torch.Tensor:
    return torch.full((1, 4, 5, 5), float(number))


def test_what_was_put_in_comes_out_and_is_counted() -> None:
    cache = FeatureCache(10 * _BYTES)
    assert cache.get(_key(1)) is None
    cache.put(_key(1), _features(1))
    found = cache.get(_key(1))
    assert found is not None and torch.equal(found, _features(1))
    assert (cache.counts.hits, cache.counts.misses, cache.counts.bytes) == (1, 1, _BYTES)


def test_the_least_recently_used_goes_first() -> None:
    cache = FeatureCache(2 * _BYTES)
    cache.put(_key(1), _features(1))
    cache.put(_key(2), _features(2))
    cache.get(_key(1))
    cache.put(_key(3), _features(3))
    assert [cache.get(_key(number)) is not None for number in (1, 2, 3)] == [True, False, True]
    assert cache.counts.bytes == 2 * _BYTES


def test_what_is_too_large_alone_drives_nothing_out() -> None:
    cache = FeatureCache(_BYTES)
    cache.put(_key(1), _features(1))
    cache.put(_key(2), torch.zeros(1, 4, 50, 50))
    assert len(cache) == 1 and cache.get(_key(1)) is not None
    nothing = FeatureCache(0)
    nothing.put(_key(1), _features(1))
    assert len(nothing) == 0


def test_the_same_image_twice_is_counted_once() -> None:
    cache = FeatureCache(10 * _BYTES)
    cache.put(_key(1), _features(1))
    cache.put(_key(1), _features(1))
    assert cache.counts.bytes == _BYTES


def test_a_part_of_a_batch_does_not_keep_the_batch() -> None:
    cache = FeatureCache(10 * _BYTES)
    batch = torch.zeros(8, 4, 5, 5)
    cache.put(_key(1), batch[2:3])
    found = cache.get(_key(1))
    assert found is not None and found.untyped_storage().nbytes() == _BYTES


def test_forgetting_leaves_nothing_held() -> None:
    cache = FeatureCache(10 * _BYTES)
    cache.put(_key(1), _features(1))
    cache.clear()
    assert (len(cache), cache.counts.bytes) == (0, 0)


def test_a_key_is_the_content_the_shape_and_the_size() -> None:
    image = noise(20, 30)
    key = feature_key(image, (96, 96))
    assert key == feature_key(image.copy(), (96, 96))
    assert key == feature_key(image[:, ::-1][:, ::-1], (96, 96)), "however it lies in memory"
    other = image.copy()
    other[3, 4, 1] ^= 1
    assert len({key, feature_key(other, (96, 96)), feature_key(image.reshape(30, 20, 3), (96, 96))}) == 3
    assert key != feature_key(image, (96, 128))
