"""A folder laid out as ADEChallengeData2016, with pictures and ground truths made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.pictures import gradient, noise


def make_ade20k(data: Path, pairs: dict[str, int], seed: int = 0) -> Path:
    """The folder with so many pairs in each split; values 0 (not counted) to 150, in blocks."""
    root = data / "ADEChallengeData2016"
    generator = np.random.default_rng(seed)
    for split, count in pairs.items():
        images, truths = root / "images" / split, root / "annotations" / split
        images.mkdir(parents=True)
        truths.mkdir(parents=True)
        for number in range(1, count + 1):
            height, width = (int(side) for side in generator.integers(40, 90, 2))
            name = f"ADE_{'val' if split == 'validation' else 'train'}_{number:08d}"
            picture = noise(height, width, seed=number) // 2 + gradient(height, width) // 2
            Image.fromarray(picture).save(images / f"{name}.jpg", quality=95)
            blocks = generator.integers(0, 151, (4, 5)).astype(np.uint8)
            truth = Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)
            truth.save(truths / f"{name}.png")
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n")
    return root
