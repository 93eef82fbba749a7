"""LSeg by its formulas: plain functions over lang-seg's tensors, which tests of the network compare with.

It is one of two re-writings of lang-seg. This one spells out what torch has operators for (layer norm, batch norm,
attention, linear layers), so that a wrong argument to one of them cannot be wrong here as well; and it knows all that a
checkpoint may hold, the regularisation among it. The other, bench/naive.py, is made for time measurements; a test
checks it against this one.

Nothing here is shared with model/: all 77 tokens, out_conv after the resize, batch norms not folded.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

import lseg_serve.model  # noqa: F401 - lets clip be imported beside a CPU build of torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # clip imports the deprecated pkg_resources
    import clip

Tensors = dict[str, Tensor]


def logits(
    tensors: Tensors,
    pixels: Tensor,
    labels: Sequence[str],
    *,
    patch_size: int,
    arch_option: int = 0,
    block_depth: int = 0,
    activation: str = "lrelu",
) -> Tensor:
    """Logits [B, K, H, W] of the checkpoint `tensors` for a ViT backbone."""
    return _logits_of_levels(
        tensors, _vit_levels(tensors, pixels, patch_size), labels, arch_option, block_depth, activation
    )


def logits_from_levels(tensors: Tensors, levels: list[Tensor], labels: Sequence[str]) -> Tensor:
    """Logits from four levels computed elsewhere."""
    return _logits_of_levels(tensors, levels, labels, 0, 0, "lrelu")


def _logits_of_levels(
    t: Tensors, levels: list[Tensor], labels: Sequence[str], arch_option: int, block_depth: int, activation: str
) -> Tensor:
    path: Tensor | None = None
    for n in (4, 3, 2, 1):
        level = F.conv2d(levels[n - 1], t[f"scratch.layer{n}_rn.weight"], padding=1)
        prefix = f"scratch.refinenet{n}"
        out = level if path is None else path + _unit(t, f"{prefix}.resConfUnit1", level)
        out = _unit(t, f"{prefix}.resConfUnit2", out)
        out = F.interpolate(out, scale_factor=2, mode="bilinear", align_corners=True)
        path = F.conv2d(out, t[f"{prefix}.out_conv.weight"], t[f"{prefix}.out_conv.bias"])
    assert path is not None
    image = F.conv2d(path, t["scratch.head1.weight"], t["scratch.head1.bias"])
    image = image / image.norm(dim=1, keepdim=True)
    text = _text(t, labels)
    text = text / text.norm(dim=1, keepdim=True)
    out = torch.einsum("behw,ke->bkhw", image, text) * math.exp(math.log(1 / 0.07))
    if arch_option:
        out = _head_block(t, out, arch_option, block_depth, activation)
    return F.interpolate(out, scale_factor=2, mode="bilinear", align_corners=True)


def _head_block(t: Tensors, out: Tensor, arch_option: int, block_depth: int, activation: str) -> Tensor:
    weight, bias = (t[f"scratch.head_block.depthwise.depthwise.{part}"] for part in ("weight", "bias"))
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "lrelu": lambda x: torch.where(x > 0, x, 0.01 * x),
        "relu": lambda x: x.clamp(min=0),
        "tanh": torch.tanh,
    }

    def block(x: Tensor, act: bool) -> Tensor:
        y = torch.stack([F.conv2d(x[:, k : k + 1], weight, bias, padding=1)[:, 0] for k in range(x.shape[1])], dim=1)
        if arch_option == 1:
            y = y + x.max(dim=1, keepdim=True).values
        return functions[activation](y) if act else y

    for _ in range(block_depth - 1):
        out = block(out, True)
    return block(out, False)


def _unit(t: Tensors, prefix: str, x: Tensor) -> Tensor:
    out = x
    for n in (1, 2):
        out = F.conv2d(F.relu(out), t[f"{prefix}.conv{n}.weight"], padding=1)
        mean, variance, weight, bias = (
            t[f"{prefix}.bn{n}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        out = (out - mean) / (variance + 1e-5).sqrt() * weight + bias
    return x + out


def _norm(t: Tensors, prefix: str, x: Tensor, eps: float) -> Tensor:
    centred: Tensor = x - x.mean(dim=-1, keepdim=True)
    scale: Tensor = (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt()
    normed: Tensor = centred / scale * t[f"{prefix}.weight"] + t[f"{prefix}.bias"]
    return normed


def _attend(qkv: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    batch, length, triple = qkv.shape
    q, k, v = qkv.view(batch, length, 3, heads, triple // 3 // heads).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores + mask
    attended: Tensor = (scores.softmax(dim=-1) @ v).transpose(1, 2)
    return attended.reshape(batch, length, triple // 3)


def _linear(t: Tensors, prefix: str, x: Tensor) -> Tensor:
    return x @ t[f"{prefix}.weight"].T + t[f"{prefix}.bias"]


def _vit_levels(t: Tensors, pixels: Tensor, patch_size: int) -> list[Tensor]:
    m = "pretrained.model"
    height, width = pixels.shape[2] // patch_size, pixels.shape[3] // patch_size
    x = F.conv2d(pixels, t[f"{m}.patch_embed.proj.weight"], t[f"{m}.patch_embed.proj.bias"], stride=patch_size)
    x = torch.cat([t[f"{m}.cls_token"].expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
    side = math.isqrt(t[f"{m}.pos_embed"].shape[1] - 1)
    grid = t[f"{m}.pos_embed"][0, 1:].view(1, side, side, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(height, width), mode="bilinear")
    x = x + torch.cat([t[f"{m}.pos_embed"][:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
    depth = 1 + max(int(key.split(".")[3]) for key in t if key.startswith(f"{m}.blocks."))
    levels: list[Tensor] = []
    for index in range(depth):
        b = f"{m}.blocks.{index}"
        qkv = _linear(t, f"{b}.attn.qkv", _norm(t, f"{b}.norm1", x, 1e-6))
        x = x + _linear(t, f"{b}.attn.proj", _attend(qkv, x.shape[-1] // 64))
        x = x + _linear(t, f"{b}.mlp.fc2", F.gelu(_linear(t, f"{b}.mlp.fc1", _norm(t, f"{b}.norm2", x, 1e-6))))
        if (index + 1) % (depth // 4) == 0:
            levels.append(_reassemble(t, len(levels) + 1, x, height, width))
    return levels


def _reassemble(t: Tensors, n: int, tokens: Tensor, height: int, width: int) -> Tensor:
    p = f"pretrained.act_postprocess{n}"
    patches, readout = tokens[:, 1:], tokens[:, :1].expand(-1, tokens.shape[1] - 1, -1)
    x = F.gelu(_linear(t, f"{p}.0.project.0", torch.cat([patches, readout], dim=-1)))
    x = x.transpose(1, 2).reshape(len(x), -1, height, width)
    x = F.conv2d(x, t[f"{p}.3.weight"], t[f"{p}.3.bias"])
    if f"{p}.4.weight" not in t:
        return x
    weight, bias = t[f"{p}.4.weight"], t[f"{p}.4.bias"]
    if weight.shape[-1] == 3:
        # The stride that brings the finest level to a quarter of the input and halves from there on.
        return F.conv2d(x, weight, bias, stride=2 if n == 4 or f"{p[:-1]}{n - 1}.4.weight" not in t else 1, padding=1)
    return F.conv_transpose2d(x, weight, bias, stride=weight.shape[-1])


def _text(t: Tensors, labels: Sequence[str]) -> Tensor:
    tokens = clip.tokenize(list(labels))
    c = "clip_pretrained"
    x = t[f"{c}.token_embedding.weight"][tokens] + t[f"{c}.positional_embedding"]
    mask = torch.full((77, 77), float("-inf")).triu(1)
    depth = 1 + max(int(key.split(".")[3]) for key in t if key.startswith(f"{c}.transformer.resblocks."))
    for index in range(depth):
        b = f"{c}.transformer.resblocks.{index}"
        normed = _norm(t, f"{b}.ln_1", x, 1e-5)
        qkv = normed @ t[f"{b}.attn.in_proj_weight"].T + t[f"{b}.attn.in_proj_bias"]
        x = x + _linear(t, f"{b}.attn.out_proj", _attend(qkv, x.shape[-1] // 64, mask))
        hidden = _linear(t, f"{b}.mlp.c_fc", _norm(t, f"{b}.ln_2", x, 1e-5))
        x = x + _linear(t, f"{b}.mlp.c_proj", hidden * torch.sigmoid(1.702 * hidden))
    x = _norm(t, f"{c}.ln_final", x, 1e-5)
    return x[torch.arange(len(x)), tokens.argmax(dim=-1)] @ t[f"{c}.text_projection"]
