"""The decoder: four levels fused from coarse to fine, as in RefineNet and DPT."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from lseg_serve.model.architecture import Architecture


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """`x` [B, C, h, w] at `size` (height, width), bilinear with aligned corners as everywhere in lang-seg's decoder."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class ResidualConvUnit(nn.Module):
    """Two 3x3 convolutions, each after a ReLU, added to the input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.activation: nn.Module = nn.ReLU()  # identity where the convolutions include it (int8)
        self.conv1: nn.Module = nn.Conv2d(features, features, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(features)
        self.conv2: nn.Module = nn.Conv2d(features, features, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        """[B, F, h, w] -> [B, F, h, w]."""
        out = self.bn1(self.conv1(self.activation(x)))
        out = self.bn2(self.conv2(self.activation(out)))
        return x + out  # type: ignore[no-any-return]


class FusionBlock(nn.Module):
    """DPT's fusion block (lang-seg's refinenet): adds one level to the coarser ones. The caller doubles the result."""

    def __init__(self, features: int, *, coarsest: bool) -> None:
        super().__init__()
        # The coarsest block has nothing to add its level to. Checkpoints hold a unit for it, which is never used.
        self.level_unit = None if coarsest else ResidualConvUnit(features)
        self.output_unit = ResidualConvUnit(features)
        self.out_conv = nn.Conv2d(features, features, kernel_size=1)

    def forward(self, level: Tensor, previous: Tensor | None) -> Tensor:
        """`level` and `previous` [B, F, h, w] -> [B, F, h, w]."""
        if self.level_unit is not None and previous is not None:
            level = previous + self.level_unit(level)
        # out_conv before the resize and not after it, as in lang-seg: a 1x1 convolution commutes with a resize whose
        # weights sum to 1, and here it works on a quarter of the pixels.
        return self.out_conv(self.output_unit(level))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Four levels -> one map of features at a quarter of the input's size. lang-seg doubles the same map."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        features = architecture.features
        self.level_convs = nn.ModuleList(
            nn.Conv2d(channels, features, kernel_size=3, padding=1, bias=False)
            for channels in architecture.level_channels
        )
        self.blocks = nn.ModuleList(FusionBlock(features, coarsest=index == 3) for index in range(4))

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Four maps [B, C_i, h_i, w_i], finest first -> [B, F, h_0, w_0].

        Each block's map is resized to the next finer level, which is twice its size. Where a grid of odd size was
        halved and rounded up, it is not quite twice: lang-seg fails there.
        """
        path: Tensor | None = None
        for index in reversed(range(len(levels))):
            level = self.level_convs[index](levels[index])
            if path is not None:
                path = upsample(path, (level.shape[2], level.shape[3]))
            path = self.blocks[index](level, path)
        assert path is not None
        return path
