"""The naive path of the benchmark computes what the served one does: a comparison with it compares like with like."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lseg_serve.bench.naive import Naive, summed_scores
from lseg_serve.segmenter import Config, Segmenter
from lseg_serve.segmenter.config import AccurateParams
from tests.support import reference
from tests.support.networks import SMALL, langseg_tensors, random_network
from tests.support.pictures import noise

LABELS = ["sky", "a cat", "other"]


def test_its_logits_are_the_references() -> None:
    tensors = langseg_tensors(random_network(SMALL))
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(5)) * 2 - 1
    expected = reference.logits(tensors, pixels, LABELS, patch_size=16)
    torch.testing.assert_close(Naive(tensors).logits(pixels, LABELS), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("size", [(75, 100), (100, 75)], ids=["4:3", "portrait"])
def test_its_accurate_mode_is_the_served_one(size: tuple[int, int]) -> None:
    params = AccurateParams(crop_size=96, base_size=104, stride=64)
    net, image = random_network(SMALL), noise(*size)
    plain = Naive(langseg_tensors(net))
    expected = summed_scores(lambda pixels: plain.logits(pixels, LABELS), image, crop_size=96, base_size=104, stride=64)
    found = Segmenter(net, config=Config(device="cpu", accurate=params)).accurate_scores(image, LABELS)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


def test_the_published_evaluation_is_its_default() -> None:
    """The sum of 6 scales with mirror images over a network whose logits are 1: 12 at every pixel."""
    shapes: list[tuple[int, ...]] = []

    def ones(pixels: Tensor) -> Tensor:
        shapes.append(tuple(pixels.shape))
        return torch.ones(1, 2, *pixels.shape[2:])

    total = summed_scores(ones, noise(30, 40))
    torch.testing.assert_close(total, torch.full((2, 30, 40), 12.0))
    # 260, 390, 520, 650, 780 and 910 pixels wide: 1, 1, 2x1, 2x2, 2x2 and 3x2 windows of 480, each with its mirror.
    assert shapes == [(1, 3, 480, 480)] * 2 * (1 + 1 + 2 + 4 + 4 + 6)
