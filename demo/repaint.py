"""Scenes without their colours, or in others, so that a thing is known by its form whatever its paint."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lseg_serve.demo.drawing.paints import PAINTS
from lseg_serve.demo.views import OUTSIDE, View
from lseg_serve.demo.vocabulary import HELD_OUT_PAIRS, pairs_present

# RGB -> luma, blue and red difference (ITU-R BT.601). Turning the two differences turns hues and keeps brightness.
_TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_TO_RGB = torch.linalg.inv(_TO_YCC)

_COLOURLESS = ("white", "black")  # no turn changes them
# A turn leaves every thing this far, in radians, from a colour that is held out for it. Red and orange are 0.5 apart,
# and what lies between yellow and green would still pass for green.
_MARGIN = 0.9
_TRIES = 20


def repaint(
    view: View, to_grey: npt.NDArray[np.bool_], to_turn: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Tensor:
    """The pixels [B, 3, H, W] of `view`, of its scenes [B] some grey and some with their hues turned."""
    if not (to_grey | to_turn).any():
        return view.pixels
    turns, strengths = torch.zeros(len(view.pixels)), torch.from_numpy(~to_grey).float()
    for index in np.flatnonzero(to_turn).tolist():
        inside = view.classes[index] != OUTSIDE
        turns[index] = choose_turn(rng, pairs_present(view.classes[index][inside], view.colours[index][inside]))
    return repainted(view.pixels, turns, strengths)


def repainted(pixels: Tensor, turns: Tensor, strengths: Tensor) -> Tensor:
    """`pixels` [B, 3, H, W] in -1..1 with all hues turned by `turns` [B] radians, colourfulness times `strengths` [B].

    A strength of 0 leaves grey: each pixel's luma.
    """
    cosine, sine = turns.cos() * strengths, turns.sin() * strengths
    middle = torch.zeros(len(pixels), 3, 3)
    middle[:, 0, 0] = 1
    middle[:, 1, 1], middle[:, 1, 2], middle[:, 2, 1], middle[:, 2, 2] = cosine, -sine, sine, cosine
    mixing = _TO_RGB @ middle @ _TO_YCC
    return torch.bmm(mixing, pixels.flatten(2)).view_as(pixels).clamp_(-1, 1)


def choose_turn(rng: np.random.Generator, pairs: Iterable[tuple[str, str]]) -> float:
    """Radians by which to turn the hues of a scene that shows these (colour, label) pairs; 0 where no turn is found.

    No turn makes a pair look like one that is held out for testing: a blue boat never comes out red.
    """
    pairs = list(pairs)
    for _ in range(_TRIES):
        turn = float(rng.uniform(-math.pi, math.pi))
        if not any(_reveals(colour, label, turn) for colour, label in pairs):
            return turn
    return 0.0


def _reveals(colour: str, label: str, turn: float) -> bool:
    """Whether `turn` brings `colour` close to one that is held out for `label`."""
    if colour in _COLOURLESS:
        return False
    held_out = [kept for kept, name in HELD_OUT_PAIRS if name == label and kept not in _COLOURLESS]
    return any(abs(math.remainder(hue(colour) + turn - hue(kept), 2 * math.pi)) < _MARGIN for kept in held_out)


def hue(colour: str) -> float:
    """The angle, in radians, of a colour word's first paint in the plane of the two differences."""
    _, blue_difference, red_difference = (_TO_YCC @ torch.tensor(PAINTS[colour][0])).tolist()
    return math.atan2(red_difference, blue_difference)
