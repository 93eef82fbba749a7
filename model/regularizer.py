"""lang-seg's spatial regularisation block (`arch_option` 1 and 2): a small convolution over each label's map."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from lseg_serve.model.architecture import Architecture

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"lrelu": F.leaky_relu, "relu": F.relu, "tanh": F.tanh}


class SpatialRegularizer(nn.Module):
    """`block_depth` rounds, at least one, of one 1-channel 3x3 convolution shared by all labels and rounds."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.bottleneck = architecture.arch_option == 1
        self.rounds = max(1, architecture.block_depth)
        self.activation = _ACTIVATIONS[architecture.activation]
        self.depthwise = nn.Conv2d(1, 1, kernel_size=3, padding=1)

    def forward(self, scores: Tensor) -> Tensor:
        """`scores` [B, K, h, w] -> the same shape; the last round has no activation."""
        for remaining in reversed(range(self.rounds)):
            out = self.depthwise(scores.flatten(0, 1).unsqueeze(1)).squeeze(1).view_as(scores)
            if self.bottleneck:
                out = out + scores.amax(dim=1, keepdim=True)
            scores = self.activation(out) if remaining else out
        return scores
