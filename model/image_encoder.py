"""The image encoder: a timm ViT or ResNet that turns pixels into the four levels the decoder fuses."""

from __future__ import annotations

from functools import partial

import torch
from timm.models.resnet import Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from lseg_serve.model.architecture import LEVEL_STRIDES, Architecture
from lseg_serve.model.attention import Attend, Attention


class ViTEncoder(nn.Module):
    """A vision transformer for inputs of any size, with DPT's reassemble after four of its blocks."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.patch_size = architecture.patch_size
        self.out_indices = architecture.out_indices
        self.vit = VisionTransformer(
            img_size=architecture.position_grid * architecture.patch_size,
            patch_size=architecture.patch_size,
            embed_dim=architecture.width,
            depth=architecture.depth,
            num_heads=architecture.heads,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_classes=0,
            weight_init="skip",
        )
        self.vit.norm = nn.Identity()  # the levels are taken before the final norm
        self.reassemble = nn.ModuleList(
            Reassemble(architecture.width, channels, architecture.patch_size, stride)
            for channels, stride in zip(architecture.level_channels, LEVEL_STRIDES, strict=True)
        )

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Levels of `pixels` [B, 3, H, W]: four maps [B, C_i, H/s_i, W/s_i] for the strides s of LEVEL_STRIDES."""
        grid = (pixels.shape[2] // self.patch_size, pixels.shape[3] // self.patch_size)
        patches = self.vit.patch_embed.proj(pixels).flatten(2).transpose(1, 2)  # [B, h*w, D]
        cls_token = self.vit.cls_token.expand(len(pixels), -1, -1)
        tokens = torch.cat([cls_token, patches], dim=1) + self._positions(grid)  # [B, 1+h*w, D]
        levels: list[Tensor] = []
        for index, block in enumerate(self.vit.blocks):
            tokens = block(tokens)
            if index in self.out_indices:
                levels.append(self.reassemble[len(levels)](tokens, grid))
        return levels

    def set_attention(self, attend: Attend) -> None:
        """Let every block attend by `attend` from now on."""
        for block in self.vit.blocks:
            block.attn = Attention(block.attn, attend)

    def attend_by_products(self) -> None:
        """Let every block attend by two products and a softmax in the type of its weights, without the fused kernel."""
        for block in self.vit.blocks:
            block.attn.fused_attn = False

    @torch.no_grad()
    def prepare_size(self, height: int, width: int) -> None:
        """Resize the positions for inputs of `height` x `width` pixels now, where and in which type the weights are.

        They are kept as a buffer, which moves with the module and is in no checkpoint. It does not follow weights that
        change later, so this is not for training.
        """
        grid = (height // self.patch_size, width // self.patch_size)
        resized = self._resized_positions(grid)
        if resized is not self.vit.pos_embed:
            self.register_buffer(_buffer_name(grid), resized, persistent=False)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """The learned positions at the grid (h, w): [1, 1+h*w, D]."""
        prepared: Tensor | None = getattr(self, _buffer_name(grid), None)
        return self._resized_positions(grid) if prepared is None else prepared

    def _resized_positions(self, grid: tuple[int, int]) -> Tensor:
        """Plain bilinear as in lang-seg; timm's own resize is bicubic with antialias and gives other numbers."""
        learned: Tensor = self.vit.pos_embed
        side = round((learned.shape[1] - 1) ** 0.5)
        if grid == (side, side):
            return learned
        grid_part = learned[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        resized = F.interpolate(grid_part, size=grid, mode="bilinear", align_corners=False)
        return torch.cat([learned[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def _buffer_name(grid: tuple[int, int]) -> str:
    return f"positions_{grid[0]}x{grid[1]}"


class Reassemble(nn.Module):
    """Tokens of one block -> one level: readout, tokens to a grid, 1x1 convolution, resample (DPT, section 3.1)."""

    def __init__(self, width: int, channels: int, patch_size: int, stride: int) -> None:
        super().__init__()
        self.readout = nn.Linear(2 * width, width)
        self.project = nn.Conv2d(width, channels, kernel_size=1)
        self.resample: nn.Module
        if patch_size > stride:
            factor = patch_size // stride
            self.resample = nn.ConvTranspose2d(channels, channels, kernel_size=factor, stride=factor)
        elif patch_size < stride:
            self.resample = nn.Conv2d(channels, channels, kernel_size=3, stride=stride // patch_size, padding=1)
        else:
            self.resample = nn.Identity()

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """`tokens` [B, 1+h*w, D], class token first, on the grid (h, w) -> [B, C, h', w']."""
        cls_token, patches = tokens[:, :1], tokens[:, 1:]
        # lang-seg appends the class token to each patch token before this layer. The class token's part of the product
        # is the same for every patch, so it is computed once.
        of_patch, of_cls = self.readout.weight.chunk(2, dim=1)
        read = F.gelu(F.linear(patches, of_patch) + F.linear(cls_token, of_cls, self.readout.bias))
        level: Tensor = self.resample(self.project(read.transpose(1, 2).unflatten(2, grid)))
        return level


class ResNetEncoder(nn.Module):
    """A ResNet whose four stages are the levels as they are."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.resnet = ResNet(Bottleneck, layers=architecture.resnet_blocks, num_classes=0)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Levels of `pixels` [B, 3, H, W]: four maps [B, C_i, H/s_i, W/s_i] for the strides s of LEVEL_STRIDES."""
        net = self.resnet
        level = net.maxpool(net.act1(net.bn1(net.conv1(pixels))))
        levels = []
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            level = stage(level)
            levels.append(level)
        return levels
