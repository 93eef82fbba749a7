"""For programs that run in an environment without this project: the masks that a reader must give back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

UNLABELLED = 255
Mask = npt.NDArray[np.uint8]


class Comparison:
    """Counts the pixels in which what was read differs from the masks in a folder."""

    def __init__(self, masks: Path) -> None:
        self._masks = masks
        self.found = {"items": 0, "objects": 0, "wrong": 0}

    def mask(self, stem: str) -> tuple[Mask, list[str]]:
        """The endpoint's mask of an image, with the names of its labels."""
        with Image.open(self._masks / f"{stem}.png") as image:
            image.load()
            return np.asarray(image), [entry["name"] for entry in json.loads(image.info["legend"])]

    def add(self, stem: str, objects: list[tuple[str, npt.NDArray[np.bool_]]]) -> None:
        """Compare the objects that were read of an image: the name of each, and its pixels."""
        mask, names = self.mask(stem)
        read = np.full(mask.shape, UNLABELLED, np.uint8)
        for name, pixels in objects:
            read[pixels] = names.index(name)
        self.found["items"] += 1
        self.found["objects"] += len(objects)
        self.found["wrong"] += int(np.count_nonzero(read != mask))

    def say(self) -> None:
        """Print the counts, for the test that started this program."""
        json.dump(self.found, sys.stdout)
