"""Buckets: few sizes, one for every image, and pixels that reach the network unchanged but for their scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lseg_serve.segmenter.config import StaticImageSizeParams
from lseg_serve.segmenter.preprocessing.buckets import Bucket, choose_bucket, make_buckets, resize_to_bucket
from tests.support.pictures import gradient, noise

DEFAULTS = make_buckets(StaticImageSizeParams())


def test_the_default_buckets_are_five_by_rising_area() -> None:
    # 480 * 16 / 9 = 853.3, nearest multiple of 32: 864
    assert [str(bucket) for bucket in DEFAULTS] == ["480x480", "480x640", "640x480", "480x864", "864x480"]


@pytest.mark.parametrize(
    ("ratio", "short", "expected"),
    [
        ((1, 1), 480, (480, 480)),
        ((1, 1), 32, (32, 32)),
        ((1, 1), 33, (32, 32)),
        ((1, 1), 47, (32, 32)),
        ((1, 1), 49, (64, 64)),
        ((9, 16), 480, (480, 864)),
        ((16, 9), 480, (864, 480)),
        ((2, 3), 100, (96, 160)),  # 100 -> 96, 150 -> 160
        ((0.5, 1.25), 64, (64, 160)),
        ((1080, 1920), 384, (384, 672)),  # 682.7 -> 672
        ((1, 10), 32, (32, 320)),
    ],
)
def test_sides_are_rounded_to_the_nearest_multiple_of_32(
    ratio: tuple[float, float], short: int, expected: tuple[int, int]
) -> None:
    assert make_buckets(StaticImageSizeParams(hw_ratios=(ratio,), short_sizes=(short,))) == (Bucket(*expected),)


def test_sizes_that_round_to_the_same_are_one_bucket() -> None:
    params = StaticImageSizeParams(hw_ratios=((1, 1), (100, 101)), short_sizes=(64, 65, 66))
    assert make_buckets(params) == (Bucket(64, 64),)


def test_every_ratio_is_there_at_every_short_size() -> None:
    buckets = make_buckets(StaticImageSizeParams(hw_ratios=((1, 1), (1, 2)), short_sizes=(64, 128)))
    assert buckets == (Bucket(64, 64), Bucket(64, 128), Bucket(128, 128), Bucket(128, 256))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 480, "480x480"),
        (480, 640, "480x640"),
        (480, 864, "480x864"),
        (1, 1, "480x480"),
        (10_000, 10_000, "480x480"),
        (1080, 1920, "480x864"),
        (1920, 1080, "864x480"),
        (3000, 4000, "480x640"),
        (300, 451, "480x640"),  # 0.665: to 0.75 a factor of 1.128, to 0.5556 one of 1.197
        (16, 6000, "480x864"),
        (6000, 16, "864x480"),
        (1, 2, "480x864"),
        (100, 115, "480x480"),  # 1.15 of 1, 1.159 of 3:4
        (100, 116, "480x640"),
    ],
)
def test_an_image_gets_the_bucket_of_the_nearest_aspect(height: int, width: int, expected: str) -> None:
    assert str(choose_bucket(DEFAULTS, height, width)) == expected


@pytest.mark.parametrize(("side", "expected"), [(1, 64), (64, 64), (90, 64), (91, 128), (128, 128), (5000, 128)])
def test_of_one_aspect_an_image_gets_the_nearest_short_side(side: int, expected: int) -> None:
    """Near as a factor: between 64 and 128 the middle is their geometric mean, 90.5."""
    buckets = make_buckets(StaticImageSizeParams(hw_ratios=((1, 1), (1, 2)), short_sizes=(64, 128)))
    assert choose_bucket(buckets, side, side) == Bucket(expected, expected)
    assert choose_bucket(buckets, side, 2 * side) == Bucket(expected, 2 * expected)


def test_aspect_comes_before_the_short_side() -> None:
    assert choose_bucket((Bucket(64, 64), Bucket(128, 256)), 64, 128) == Bucket(128, 256)
    assert choose_bucket((Bucket(64, 128), Bucket(512, 512)), 60, 60) == Bucket(512, 512)


def test_any_size_has_the_bucket_of_the_least_stretch() -> None:
    for height, width in np.random.default_rng(0).integers(1, 20_000, (300, 2)).tolist():
        chosen = choose_bucket(DEFAULTS, height, width)
        stretches = {bucket: abs(np.log(bucket.height / bucket.width * width / height)) for bucket in DEFAULTS}
        assert stretches[chosen] == pytest.approx(min(stretches.values()), abs=1e-6)


def test_an_image_of_the_buckets_size_is_only_scaled() -> None:
    image = noise(64, 96)
    fitted = resize_to_bucket(image, Bucket(64, 96))
    assert fitted.dtype == torch.float32
    expected = (image.astype(np.float32) / np.float32(127.5) - 1).transpose(2, 0, 1)
    np.testing.assert_array_equal(fitted.numpy(), expected)


def test_black_is_minus_one_and_white_is_one_at_every_size() -> None:
    for shape in [(64, 64), (7, 300), (1, 1), (500, 20)]:
        assert (resize_to_bucket(np.zeros((*shape, 3), np.uint8), Bucket(64, 64)) == -1).all()
        assert (resize_to_bucket(np.full((*shape, 3), 255, np.uint8), Bucket(64, 64)) == 1).all()


def test_fitting_leaves_the_image_alone() -> None:
    image = noise(64, 64)
    before = image.copy()
    image.flags.writeable = False
    resize_to_bucket(image, Bucket(64, 64)).zero_()
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("size", [(200, 331), (31, 40), (64, 400), (16, 600)])
def test_another_size_is_stretched_with_pixel_centres_aligned_and_averaged_where_it_shrinks(
    size: tuple[int, int],
) -> None:
    image = gradient(*size)
    fitted = resize_to_bucket(image, Bucket(64, 96))
    source = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = F.interpolate(source, size=(64, 96), mode="bilinear", align_corners=False, antialias=True)[0]
    assert fitted.shape == (3, 64, 96)
    torch.testing.assert_close((fitted + 1) * 127.5, expected, rtol=0, atol=1.01)  # Pillow rounds to whole values twice
