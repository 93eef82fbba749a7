"""The network at full size against the reference outputs of lang-seg."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lseg_serve.model import LSeg

TOLERANCE = 1e-3


@pytest.mark.parametrize("name", ["clip_vitb32_384", "clip_vitl16_384"])
def test_logits_equal_the_golden_ones(
    name: str, golden: Path, full_size_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    reference = np.load(golden / f"{name}.npz")
    labels = json.loads(str(reference["meta"]))["labels"]
    net = LSeg.from_checkpoint(full_size_checkpoint(name))
    for size in ("480", "352x512"):
        pixels = torch.from_numpy(reference[f"x{size}"]).permute(2, 0, 1)[None].float() / 127.5 - 1
        found = net.logits(pixels, labels)[0].numpy()
        expected = reference[f"logits{size}_s8"]
        difference = np.abs(found[:, ::8, ::8] - expected).max()
        with capsys.disabled():
            print(f"\n{name} {size}: largest difference {difference:.1e}")
        assert difference < TOLERANCE
