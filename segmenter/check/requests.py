"""Requests at random, and pictures to compare masks of: what a device is given in a check."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import lseg_serve
from lseg_serve.segmenter.jobs import Job
from lseg_serve.segmenter.preprocessing.decoding import decode_image

_SIDES = (16, 2000)
_PIXELS = 400_000
# One in so many is in accurate mode, which takes dozens of times as long.
_ACCURATE = 10
_PICTURES = ("pictures/village.jpg", "pictures/front.jpg", "photos/cat.jpg", "photos/coffee.jpg")
_LABELS = ("sky", "sun", "cloud", "mountain", "cottage", "street", "lawn", "cow", "person", "cat", "cup", "other")


def random_jobs(count: int, most_labels: int, seed: int = 0) -> Iterator[Job]:
    """`count` images of any size and shape, with 1 to `most_labels` labels that nobody asked for before."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        width = _log_uniform(rng, *_SIDES)
        height = _log_uniform(rng, _SIDES[0], min(_SIDES[1], _PIXELS // width))
        words = "a long text for " * (number % 3)
        labels = [f"{words}label {number} {index}" for index in range(_log_uniform(rng, 1, most_labels))]
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        yield Job(image, labels, mode="accurate" if number % _ACCURATE == 0 else "fast")


def picture_jobs(most_labels: int) -> list[Job]:
    """The bundled pictures and photos, with a dozen labels or at most so many."""
    return [Job(decode_image((bundled() / name).read_bytes(), 10**8), _LABELS[:most_labels]) for name in _PICTURES]


def bundled() -> Path:
    """The folder of the bundled model and its pictures."""
    return Path(str(lseg_serve.__file__)).parent / "demo"


def _log_uniform(rng: np.random.Generator, least: int, most: int) -> int:
    return round(math.exp(rng.uniform(math.log(least), math.log(max(least, most)))))
