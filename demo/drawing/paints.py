"""Which colour a thing gets, and what that colour word looks like as paint."""

from typing import Literal

import numpy as np

from lseg_serve.demo.drawing.light import RGB
from lseg_serve.demo.vocabulary import CLASS_INDEX, HELD_OUT_PAIRS, LABELS

HeldOut = Literal["exclude", "only", "any"]

PAINTS: dict[str, tuple[RGB, ...]] = {
    "red": ((0.8, 0.09, 0.1), (0.7, 0.08, 0.09)),
    "orange": ((0.95, 0.47, 0.07), (0.92, 0.42, 0.05)),
    "yellow": ((0.98, 0.82, 0.12), (0.95, 0.78, 0.16)),
    "green": ((0.1, 0.52, 0.24), (0.08, 0.46, 0.27)),
    "blue": ((0.1, 0.3, 0.76), (0.12, 0.36, 0.8)),
    "purple": ((0.46, 0.16, 0.62), (0.4, 0.17, 0.58)),
    "pink": ((0.97, 0.54, 0.7), (0.95, 0.5, 0.66)),
    "white": ((0.95, 0.95, 0.94), (0.93, 0.92, 0.9)),
    "black": ((0.1, 0.1, 0.12), (0.13, 0.13, 0.14)),
}


def choose_colour(rng: np.random.Generator, label: str, held_out: HeldOut) -> str:
    """A colour word for a thing of `label`; with "only", held-out pairs come up half of the time."""
    offered = LABELS[CLASS_INDEX[label]].colours
    kept = [colour for colour in offered if (colour, label) in HELD_OUT_PAIRS]
    trained = [colour for colour in offered if (colour, label) not in HELD_OUT_PAIRS]
    if held_out == "only" and kept and rng.random() < 0.5:
        return kept[int(rng.integers(len(kept)))]
    choices = list(offered) if held_out == "any" else trained
    return choices[int(rng.integers(len(choices)))]


def paint_of(rng: np.random.Generator, colour: str) -> RGB:
    """One of the paints that `colour` names, a little different each time."""
    variants = PAINTS[colour]
    base = variants[int(rng.integers(len(variants)))]
    factor = rng.uniform(0.92, 1.05)
    red, green, blue = (float(np.clip(value * factor + rng.uniform(-0.015, 0.015), 0, 1)) for value in base)
    return red, green, blue
