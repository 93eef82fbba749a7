"""Scores computed without the map of embeddings are those computed with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from lseg_serve.model import Architecture
from lseg_serve.model.fused_scores import doubled_square_lengths
from tests.support.networks import SMALL, SMALL_RESNET, random_network


@pytest.mark.parametrize("size", [(7, 5), (1, 6), (6, 1), (1, 1), (12, 12)])
def test_lengths_are_those_of_the_resized_embeddings(size: tuple[int, int]) -> None:
    embeddings = torch.randn(2, 9, *size, generator=torch.Generator().manual_seed(1))
    doubled = (2 * size[0], 2 * size[1])
    resized = F.interpolate(embeddings.double(), size=doubled, mode="bilinear", align_corners=True)
    expected = resized.square().sum(dim=1).float()
    torch.testing.assert_close(doubled_square_lengths(embeddings), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "architecture",
    [SMALL, SMALL_RESNET, replace(SMALL, arch_option=1, block_depth=2)],
    ids=["vit", "resnet", "regularised"],
)
def test_scores_are_dot_products_of_unit_embeddings(architecture: Architecture) -> None:
    net = random_network(architecture)
    pixels = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(2)) * 2 - 1
    text = net.encode_labels(["cat", "grass", "other"])
    features = net.image_features(pixels)
    assert features.shape == (2, architecture.features + 4, 16, 24)
    found = net.score_features(features, text.expand(2, -1, -1))
    torch.testing.assert_close(found, net.scores(net.pixel_embeddings(pixels), text), rtol=0, atol=2e-5)


def test_each_image_of_a_batch_may_have_its_own_labels() -> None:
    net = random_network(SMALL)
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1
    text = torch.stack([net.encode_labels(["cat", "sky"]), net.encode_labels(["road", "sea"])])
    both = net.score_features(net.image_features(pixels), text)
    for row in range(2):
        alone = net.score_features(net.image_features(pixels[row : row + 1]), text[row : row + 1])
        torch.testing.assert_close(both[row : row + 1], alone, rtol=0, atol=2e-5)
