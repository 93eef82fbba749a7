"""The naive path of the benchmark computes what the served one does: a comparison with it compares like with like."""

from __future__ import annotations

import pytest
import torch

from lseg_serve.bench import naive
from lseg_serve.bench.naive import Naive
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
    torch.testing.assert_close(Naive(dict(tensors)).logits(pixels, LABELS), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("size", [(75, 100), (100, 75)], ids=["4:3", "portrait"])
def test_its_accurate_mode_is_the_served_one(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CROP": 96, "BASE": 104, "STRIDE": 64}.items():
        monkeypatch.setattr(naive, name, value)
    params = AccurateParams(crop_size=96, base_size=104, stride=64)
    net, image = random_network(SMALL), noise(*size)
    expected = Naive(langseg_tensors(net)).accurate_scores(image, LABELS)
    found = Segmenter(net, config=Config(device="cpu", accurate=params)).accurate_scores(image, LABELS)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
