"""Image buckets: the few image sizes that go through the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from lseg_serve.segmenter.config import StaticImageSizeParams

# Sides are multiples of this, so that they halve evenly down to the coarsest level of every backbone.
_MULTIPLE = 32

BLACK = -1.0  # the value of a black pixel in the network's range of -1..1


@dataclass(frozen=True, order=True)
class Bucket:
    """The size, in pixels, at which an image goes through the network."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def make_buckets(params: StaticImageSizeParams) -> tuple[Bucket, ...]:
    """Every ratio at every short side, each side rounded to the nearest multiple of 32, smallest area first."""
    buckets = set()
    for short in params.short_sizes:
        for height, width in params.hw_ratios:
            scale = short / min(height, width)
            buckets.add(make_bucket(height * scale, width * scale))
    return tuple(sorted(buckets, key=lambda bucket: (bucket.height * bucket.width, bucket)))


def make_bucket(height: float, width: float) -> Bucket:
    """The bucket of this size, each side rounded to the nearest multiple of 32."""
    return Bucket(_rounded(height), _rounded(width))


def _rounded(side: float) -> int:
    return max(_MULTIPLE, round(side / _MULTIPLE) * _MULTIPLE)


def choose_bucket(buckets: tuple[Bucket, ...], height: int, width: int) -> Bucket:
    """The bucket for an image of `height` x `width` pixels: nearest in aspect ratio, then in short side.

    Both are compared as factors, so that twice and half as much are equally far away. Any size has a bucket.
    """

    def distance(bucket: Bucket) -> tuple[float, float]:
        aspect = abs(math.log((bucket.height / bucket.width) / (height / width)))
        short = abs(math.log(min(bucket.height, bucket.width) / min(height, width)))
        return round(aspect, 6), short

    return min(buckets, key=distance)


def resize_to_bucket(image: npt.NDArray[np.uint8], bucket: Bucket) -> Tensor:
    """`image` [H, W, 3], 0..255, stretched to the bucket and scaled to -1..1: float32 [3, height, width].

    The image is stretched and not padded, because padding takes part in the attention and would change the mask. The
    stretch is small, at most half-way to the next ratio, and the mask is stretched back. Where the image shrinks, each
    new pixel is an average of those that it covers.
    """
    if image.shape[:2] != (bucket.height, bucket.width):
        size = (bucket.width, bucket.height)
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float().div_(127.5).sub_(1)
