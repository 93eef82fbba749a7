"""Linear layers and convolutions in 8-bit integers, on CPUs, by oneDNN's kernels as torch ships them.

Weights are int8 with one scale for each output channel. Inputs are quantised in each call, at the range that they have
in it. No range is fixed at export, so none can be wrong for an image that calibration never saw. Sums are 32-bit
integers, results float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.layers import use_fused_attn
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lseg_serve.model.fusion import Decoder, ResidualConvUnit

_LEAST_SCALE = 1e-12  # for a channel, or an input, that is all zeros
# An input's range is divided into so many steps. 8 bits have one more, but the zero point is rounded: where it is
# rounded up by one half, the largest value would reach 256, which wraps to 0.
_STEPS = 254


class Int8Linear(nn.Module):
    """`nn.Linear` with int8 weights, its results in `out` (float32 or bfloat16).

    Each token has a scale of its own, so a token far larger than the others does not cost them precision. Weights are
    used as they are mapped from the file that all workers share. oneDNN's packed layout would be 4 % faster, but it
    is a copy of 300 MB in every worker of ViT-L/16.
    """

    def __init__(self, linear: nn.Linear, out: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.out = out
        weight, scale = quantized_weight(linear.weight)
        self.weight: Tensor  # int8 [K, N]: transposed, as the product takes it
        self.weight_scale: Tensor  # float32 [N]
        self.bias: Tensor  # float32 [N]
        self.register_buffer("weight", weight.t().contiguous())
        self.register_buffer("weight_scale", scale)
        bias = torch.zeros_like(scale) if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Float [..., K] -> [..., N] of the type `out`."""
        tokens = x.flatten(0, -2).float()
        # Not `aminmax`: it makes one pass and not two, but it is not vectorised and takes five times as long.
        low, high = tokens.amin(dim=1, keepdim=True), tokens.amax(dim=1, keepdim=True)
        scale = torch.maximum(-low, high).clamp_min_(_LEAST_SCALE).div_(127)  # [M, 1]
        integers = torch.mul(tokens, scale.reciprocal()).round_().to(torch.int8)
        sums = torch._int_mm(integers, self.weight) * scale
        out: Tensor = torch.addcmul(self.bias, sums, self.weight_scale).to(self.out).unflatten(0, x.shape[:-1])
        return out

    def dequantized(self) -> nn.Linear:
        """The float32 layer of the same weights."""
        with torch.device("meta"):
            layer = nn.Linear(*self.weight.shape)
        layer.weight = nn.Parameter((self.weight * self.weight_scale).t().contiguous(), False)
        layer.bias = nn.Parameter(self.bias, False)
        return layer


class Int8Conv2d(nn.Module):
    """`nn.Conv2d` with int8 weights. With `rectified` it includes the ReLU before it: inputs range from 0 on."""

    def __init__(self, conv: nn.Conv2d, *, rectified: bool) -> None:
        super().__init__()
        assert isinstance(conv.padding, tuple)
        weight, scale = quantized_weight(conv.weight)
        self.weight: Tensor  # int8 [O, I, kh, kw]
        self.weight_scale: Tensor  # float32 [O]
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", scale)
        self.bias: Tensor | None  # float32 [O]
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach().float())
        self.rectified = rectified
        self._geometry = ([*conv.stride], [*conv.padding], [*conv.dilation], conv.groups)
        self._packed: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, I, h, w] -> float32 [B, O, h', w'], channels last in memory."""
        if self._packed is None:
            packing = torch.ops.onednn.qconv_prepack(self.weight, self.weight_scale, 1.0, 0, *self._geometry, None)
            self._packed = packing, _zeros(self.weight_scale)
        packed, zeros = self._packed
        x = x.contiguous(memory_format=torch.channels_last)
        integers, scale, zero_point = quantized_input(x, rectified=self.rectified)
        out: Tensor = _convolution()(
            integers,
            scale,
            zero_point,
            packed,
            self.weight_scale,
            zeros,
            self.bias,
            *self._geometry,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return out

    def dequantized(self) -> nn.Conv2d:
        """The float32 layer of the same weights. If this one is `rectified`, the caller has to add the ReLU."""
        stride, padding, dilation, groups = self._geometry
        outputs, inputs, height, width = self.weight.shape
        with torch.device("meta"):
            conv = nn.Conv2d(inputs * groups, outputs, (height, width), stride, padding, dilation, groups)  # type: ignore[arg-type]
        conv.weight = nn.Parameter(self.weight * self.weight_scale.view(-1, 1, 1, 1), False)
        conv.bias = None if self.bias is None else nn.Parameter(self.bias, False)
        return conv


def unavailable_reason() -> str | None:
    """Why int8 layers would compute wrong results on this machine, in words; None if they compute right ones.

    Without VNNI, pairs of products are added in 16 bits and saturate there, which changes results silently.
    """
    if torch.cpu._is_vnni_supported():
        return None
    return "this processor lacks VNNI, without which products of 8-bit integers overflow"


def attends_by_products() -> bool:
    """Whether attention in bfloat16 is faster as two products and a softmax than by torch's fused kernel here."""
    return torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported()


def quantize_layers(module: nn.Module) -> None:
    """Replace the layers of `module` that do most of the work by int8 ones, in place.

    These are the transformer's linear layers and the decoder's 3x3 convolutions. The readout stays float: it reads
    tokens that no norm has scaled, and would lose ten times as much precision.

    On the meta device, this gives the structure of an int8 checkpoint.
    """
    for part in module.modules():
        if isinstance(part, VisionTransformer):
            for block in part.blocks:
                _quantize_block(block)
        elif isinstance(part, ResidualConvUnit):
            part.activation = nn.Identity()
            part.conv1, part.conv2 = (_quantized_conv(conv, rectified=True) for conv in (part.conv1, part.conv2))
        elif isinstance(part, Decoder):
            part.level_convs = nn.ModuleList(_quantized_conv(conv, rectified=False) for conv in part.level_convs)


def dequantize_layers(module: nn.Module) -> None:
    """The reverse of `quantize_layers`, in place: float32 layers with the values that the 8 bits stand for."""
    for part in module.modules():
        if isinstance(part, VisionTransformer):
            for block in part.blocks:
                block.attn.fused_attn = use_fused_attn()
                for parent, name in _block_layers(block):
                    parent.register_module(name, _dequantized(parent.get_submodule(name)))
        elif isinstance(part, ResidualConvUnit):
            part.activation = nn.ReLU()
            part.conv1, part.conv2 = _dequantized(part.conv1), _dequantized(part.conv2)
        elif isinstance(part, Decoder):
            part.level_convs = nn.ModuleList(_dequantized(conv) for conv in part.level_convs)


def _dequantized(layer: nn.Module) -> nn.Module:
    assert isinstance(layer, (Int8Linear, Int8Conv2d))
    return layer.dequantized()


def _quantized_conv(conv: nn.Module, *, rectified: bool) -> Int8Conv2d:
    assert isinstance(conv, nn.Conv2d)
    return Int8Conv2d(conv, rectified=rectified)


def _quantize_block(block: nn.Module) -> None:
    """Quantise the four linear layers of a transformer block. Attention is in bfloat16 if the CPU has products for it.

    Measured for 901 tokens, 16 heads, one thread. Zen 4: torch's fused attention takes 42 ms in float32 and 45 ms in
    bfloat16, two matrix products and a softmax in bfloat16 31 ms. A Xeon with AMX: 26, 10 and 37 ms.
    """
    half = torch.cpu._is_avx512_bf16_supported()
    if attends_by_products():
        block.get_submodule("attn").fused_attn = False  # type: ignore[assignment]
    for parent, name in _block_layers(block):
        layer = parent.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        parent.register_module(name, Int8Linear(layer, torch.bfloat16 if half and name == "qkv" else torch.float32))


def _block_layers(block: nn.Module) -> list[tuple[nn.Module, str]]:
    """The four linear layers of a transformer block: (parent module, name)."""
    attention, mlp = block.get_submodule("attn"), block.get_submodule("mlp")
    return [(attention, "qkv"), (attention, "proj"), (mlp, "fc1"), (mlp, "fc2")]


def quantized_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of the shape of `weight`, and the float32 scale of each output channel (its first dimension)."""
    values = weight.detach().float()
    scale = (values.abs().flatten(1).amax(dim=1) / 127).clamp_min(_LEAST_SCALE)
    return (values / scale.view(-1, *[1] * (values.ndim - 1))).round().to(torch.int8), scale


def quantized_input(x: Tensor, *, rectified: bool) -> tuple[Tensor, float, int]:
    """`x`, of any float type, as uint8 of the same shape and layout, with its scale and zero point.

    They cover its range and zero. With `rectified`, negative values become zero.
    """
    low, high = 0.0 if rectified else min(float(x.amin()), 0.0), max(float(x.amax()), 0.0)
    scale = max((high - low) / _STEPS, _LEAST_SCALE)
    zero_point = round(-low / scale)
    # x / scale + zero point. The half makes the conversion to integers, which truncates, round: two passes in all.
    shifted = torch.add(torch.tensor(zero_point + 0.5), x.float(), alpha=1 / scale)
    return (shifted.clamp_min_(0) if rectified else shifted).to(torch.uint8), scale, zero_point


def _convolution() -> Callable[..., Tensor]:
    """The convolution of 8-bit integers in oneDNN, by the name that the installed torch has for it."""
    names = ("qconv_pointwise", "qconv2d_pointwise")  # torch 2.6 has only the second
    found: Callable[..., Tensor] = next(
        getattr(torch.ops.onednn, name) for name in names if hasattr(torch.ops.onednn, name)
    )
    return found


def _zeros(scale: Tensor) -> Tensor:
    return torch.zeros(len(scale), dtype=torch.int32)
