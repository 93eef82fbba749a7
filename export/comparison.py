"""How far a network is from its checkpoint: both compute the logits of one test image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lseg_serve.model import LSeg

# The largest difference of a logit that passes. Logits lie within +-14.3 (1/0.07). Folding the batch norms moves them
# by rounding alone. bfloat16 keeps 8 bits of each number, and random weights, whose scores lie close together, show
# its worst. int8 is judged by the same measure.
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.5, "int8": 0.5}
_LABELS = 16
_TIMED_RUNS = 3


@dataclass(frozen=True)
class Reference:
    """The test image, some labels, and what the checkpoint computes for them."""

    pixels: Tensor  # [1, 3, H, W] in -1..1
    labels: tuple[str, ...]
    logits: Tensor  # [1, K, H, W]
    seconds: float  # that the checkpoint takes for the image's features

    @classmethod
    def of(cls, net: LSeg, labels: Sequence[str], pixels: Tensor) -> Reference:
        """What `net`, exactly as the checkpoint has it, computes for `pixels` and the first of `labels`."""
        chosen = tuple(labels[:_LABELS])
        return cls(pixels, chosen, net.logits(pixels, chosen), measured_seconds(net, pixels))


@dataclass(frozen=True)
class Difference:
    """How far a network is from its checkpoint."""

    largest: float  # of any logit
    agreement: float  # share of pixels with the same label, 0..1
    seconds: float  # that the network takes for the features of the test image
    checkpoint_seconds: float  # and the checkpoint

    @classmethod
    def between(cls, logits: Tensor, seconds: float, reference: Reference) -> Difference:
        """The difference of `logits` [1, K, H, W], which took `seconds`, from the reference."""
        largest = float((logits - reference.logits).abs().max())
        agreement = float((logits.argmax(dim=1) == reference.logits.argmax(dim=1)).float().mean())
        return cls(largest, agreement, seconds, reference.seconds)


@torch.no_grad()
def measured_seconds(net: LSeg, pixels: Tensor) -> float:
    """The fastest of a few runs over `pixels` by a network that has run before. It informs and decides nothing."""
    taken = []
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        net.image_features(pixels)
        taken.append(time.perf_counter() - start)
    return min(taken)
