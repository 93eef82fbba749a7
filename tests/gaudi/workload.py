"""A small server's worth of Gaudi: a segmenter of the small network on the simulated card, and requests for it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

import numpy as np

from lseg_serve.segmenter import Config, Job, Segmentation, Segmenter
from lseg_serve.segmenter.config import AccurateParams, HpuParams, StaticImageSizeParams
from tests.support.networks import SMALL, random_network
from tests.support.pictures import encoded, gradient, noise

CONFIG = Config(
    device="hpu",
    hpu_mode="lazy",
    static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1), (3, 4), (4, 3), (1, 2)), short_sizes=(64,)),
    accurate=AccurateParams(scales=(0.75, 1.25), crop_size=64, base_size=72, stride=48),
    hpu=HpuParams(bfloat16=False, recipe_cache=""),
)
FORMATS = ("png", "color", "overlay", "json", "npz", "zip")
_SIDES = (16, 6000)
_PIXELS = 400_000
# Label maps of a request together: making masks on the host is not what is tested here.
_LABEL_PIXELS = 1_000_000
# Of which requests, by their number modulo 40.
_TEMPLATES = {
    7: b"a photo of a {}",
    22: b'["art of the {}.", "{} in a photo of a street with many other things, at night"]',
}
_WORDS = (
    "cat",
    "grass",
    "red car",
    "Traffic Light",
    "日本",
    "a small house with a garden and two very old trees in it",
)


def segmenter(most_images: int | None = None, **changes: object) -> Segmenter:
    """The small network on the simulated card, not yet warm."""
    return Segmenter(random_network(SMALL), config=CONFIG.replaced(**changes), most_images=most_images)


def on_cpu() -> Segmenter:
    """The same on the CPU."""
    return segmenter(device="cpu")


def images(count: int, rng: np.random.Generator) -> list[tuple[int, bytes]]:
    """(pixels, file) of images of any size and aspect, smooth or noisy, PNG or JPEG."""
    found = []
    for index in range(count):
        width = _log_uniform(rng, *_SIDES)
        height = _log_uniform(rng, _SIDES[0], min(_SIDES[1], _PIXELS // width))
        size = (height, width) if rng.random() < 0.5 else (width, height)
        picture = noise(*size, index) if height * width < 100_000 else gradient(*size)
        found.append((height * width, encoded(picture, "PNG" if rng.random() < 0.3 else "JPEG")))
    return found


def rows(
    count: int, rng: np.random.Generator, pool: Sequence[tuple[int, bytes]], modes: Sequence[str]
) -> Iterator[dict[str, object]]:
    """Requests as TorchServe passes them: known and new words, every format, now and then a threshold or a template.

    A fifth of them have their words in groups of three.
    """
    for number in range(count):
        pixels, image = pool[int(rng.integers(len(pool)))]
        labels = _labels(_log_uniform(rng, 1, max(1, min(255, _LABEL_PIXELS // pixels))), rng)
        sent = [labels[first : first + 3] for first in range(0, len(labels), 3)] if number % 5 == 2 else labels
        row: dict[str, object] = {"image": image, "labels": json.dumps(sent).encode()}
        row |= {"format": FORMATS[number % len(FORMATS)].encode(), "mode": modes[number % len(modes)].encode()}
        if rng.random() < 0.2:
            row["threshold"] = b"0.3"
        if number % 40 in _TEMPLATES:
            row["template"] = _TEMPLATES[number % 40]
        yield row


def jobs(count: int, rng: np.random.Generator, mode: str) -> list[Job]:
    """Images of up to 300 pixels with up to 60 labels."""
    return [
        Job(
            noise(int(rng.integers(16, 300)), int(rng.integers(16, 300)), index),
            tuple(_labels(int(rng.integers(1, 60)), rng)),
            mode=mode,
        )
        for index in range(count)
    ]


def agreement(found: Segmentation, expected: Segmentation) -> float:
    """The share of pixels with the same label."""
    return float((found.mask == expected.mask).mean())


def _labels(count: int, rng: np.random.Generator) -> list[str]:
    numbers = rng.choice(1500, size=count, replace=False).tolist()
    return [f"{_WORDS[number % len(_WORDS)]} {number}" for number in numbers]


def _log_uniform(rng: np.random.Generator, least: int, most: int) -> int:
    return round(math.exp(rng.uniform(math.log(least), math.log(max(least, most)))))
