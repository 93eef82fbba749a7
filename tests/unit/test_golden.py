"""The network at full size against the reference outputs of lang-seg."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lseg_serve.model import LSeg
from lseg_serve.model.products import onednn_unavailable_reason

TOLERANCE = 1e-3


@pytest.mark.parametrize("name", ["clip_vitb32_384", "clip_vitl16_384"])
def test_logits_equal_the_golden_ones(
    name: str, golden: Path, full_size_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    reference = np.load(golden / f"{name}.npz")
    labels = json.loads(str(reference["meta"]))["labels"]
    net = LSeg.from_checkpoint(full_size_checkpoint(name))
    for size, by in (("480", "torch"), ("352x512", "torch"), ("352x512", "oneDNN")):
        if by == "oneDNN":
            if onednn_unavailable_reason(torch.float32) is not None:
                continue
            assert net.multiply_by_onednn() > 0
        pixels = torch.from_numpy(reference[f"x{size}"]).permute(2, 0, 1)[None].float() / 127.5 - 1
        found = net.logits(pixels, labels)[0].numpy()
        expected = reference[f"logits{size}_s8"]
        difference = np.abs(found[:, ::8, ::8] - expected).max()
        with capsys.disabled():
            print(f"\n{name} {size}, linear layers by {by}: largest difference {difference:.1e}")
        assert difference < TOLERANCE
