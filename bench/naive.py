"""The naive path: lang-seg's arithmetic as it is described, with none of this project's savings.

The benchmark measures beside it, and tests of accurate mode compare with it. It is one of two re-writings of lang-seg.
This one takes torch's own operator for every step, so that what is measured is the order of the work and not the
skill of a kernel. The other is tests/support/reference.py, which computes by formulas and checks this one.

Nothing here is shared with `model/` or `segmenter/`. Labels are encoded in each call of the network, with all 77
tokens. Attention is softmax(q k / sqrt d) v, step by step. 1x1 convolutions come after the resize. Batch norms are
computed. Embeddings of every pixel are made at half the input's resolution, normalised, and multiplied with the
labels'. Windows go through the network one at a time.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import lseg_serve.model  # noqa: F401 - lets clip be imported beside a CPU build of torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # clip imports the deprecated pkg_resources
    import clip

_HEAD = 64  # channels of an attention head, in the image encoder and in the text tower

Network = Callable[[Tensor], Tensor]  # pixels [1, 3, H, W] in -1..1 -> logits [1, K, H, W]


class Naive:
    """A checkpoint's tensors under lang-seg's keys, for a ViT backbone without regularisation."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Take everything as float32, as lang-seg computes on a CPU."""
        self.tensors = {key: tensor.float() for key, tensor in tensors.items()}

    @torch.no_grad()
    def logits(self, pixels: Tensor, labels: Sequence[str]) -> Tensor:
        """`pixels` [B, 3, H, W] in -1..1 -> logits float32 [B, K, H, W]."""
        text = self._text(labels)
        levels = [self._reassembled(n, tokens, pixels.shape) for n, tokens in enumerate(self._hooked(pixels), 1)]
        path = self._fused(levels)
        image = self._conv("scratch.head1", path, padding=0)
        image = image / image.norm(dim=1, keepdim=True)
        text = text / text.norm(dim=1, keepdim=True)
        flat = image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])  # lang-seg multiplies rows of pixels
        products = math.exp(math.log(1 / 0.07)) * flat @ text.t()
        out = products.view(len(image), *image.shape[2:], len(text)).permute(0, 3, 1, 2)
        return F.interpolate(out, scale_factor=2, mode="bilinear", align_corners=True)

    def fast(self, image: npt.NDArray[np.uint8], labels: Sequence[str], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """The mask uint8 [H, W] of `image` [H, W, 3] in one pass at `size` (height, width)."""
        fitted = np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))
        logits = self.logits(_normalised(fitted), labels)
        whole = F.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False)
        return whole[0].argmax(dim=0).to(torch.uint8).numpy()

    def accurate_scores(self, image: npt.NDArray[np.uint8], labels: Sequence[str]) -> Tensor:
        """The published evaluation's sum of logits [K, H, W] for `image` [H, W, 3]."""
        return summed_scores(lambda pixels: self.logits(pixels, labels), image)

    def _hooked(self, pixels: Tensor) -> list[Tensor]:
        """Tokens [B, 1+h*w, D] of the four blocks that become levels (lang-seg's hooks)."""
        name = "pretrained.model"
        patches = F.conv2d(pixels, *self._weights(f"{name}.patch_embed.proj"), stride=self._patch)
        x = patches.flatten(2).transpose(1, 2)
        x = torch.cat([self.tensors[f"{name}.cls_token"].expand(len(x), -1, -1), x], dim=1)
        x = x + self._positions(patches.shape[2], patches.shape[3])
        depth = self._count(f"{name}.blocks.")
        hooked: list[Tensor] = []
        for index in range(depth):
            x = self._block(f"{name}.blocks.{index}", x)
            if (index + 1) % (depth // 4) == 0:
                hooked.append(x)
        return hooked

    @property
    def _patch(self) -> int:
        return self.tensors["pretrained.model.patch_embed.proj.weight"].shape[-1]

    def _count(self, prefix: str) -> int:
        place = prefix.count(".")
        return 1 + max(int(key.split(".")[place]) for key in self.tensors if key.startswith(prefix))

    def _weights(self, name: str) -> tuple[Tensor, Tensor]:
        return self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]

    def _positions(self, height: int, width: int) -> Tensor:
        learned = self.tensors["pretrained.model.pos_embed"]
        side = math.isqrt(learned.shape[1] - 1)
        grid = learned[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(height, width), mode="bilinear")
        return torch.cat([learned[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)

    def _block(self, name: str, x: Tensor) -> Tensor:
        normed = F.layer_norm(x, x.shape[-1:], *self._weights(f"{name}.norm1"), eps=1e-6)
        qkv = F.linear(normed, *self._weights(f"{name}.attn.qkv"))
        x = x + F.linear(_attended(qkv), *self._weights(f"{name}.attn.proj"))
        normed = F.layer_norm(x, x.shape[-1:], *self._weights(f"{name}.norm2"), eps=1e-6)
        hidden = F.gelu(F.linear(normed, *self._weights(f"{name}.mlp.fc1")))
        return x + F.linear(hidden, *self._weights(f"{name}.mlp.fc2"))

    def _reassembled(self, number: int, tokens: Tensor, shape: Sequence[int]) -> Tensor:
        """Level `number` (1..4) from the tokens of its block."""
        name = f"pretrained.act_postprocess{number}"
        readout = tokens[:, :1].expand(-1, tokens.shape[1] - 1, -1)
        x = torch.cat([tokens[:, 1:], readout], dim=-1)
        x = F.gelu(F.linear(x, *self._weights(f"{name}.0.project.0"))).transpose(1, 2)
        x = self._conv(f"{name}.3", x.unflatten(2, (shape[2] // self._patch, shape[3] // self._patch)), padding=0)
        stride = self._patch / 2 ** (number + 1)
        if stride > 1:
            return F.conv_transpose2d(x, *self._weights(f"{name}.4"), stride=int(stride))
        return x if stride == 1 else F.conv2d(x, *self._weights(f"{name}.4"), stride=round(1 / stride), padding=1)

    def _fused(self, levels: Sequence[Tensor]) -> Tensor:
        """The decoder: [B, F, H/2, W/2]."""
        path: Tensor | None = None
        for number in (4, 3, 2, 1):
            name = f"scratch.refinenet{number}"
            level = F.conv2d(levels[number - 1], self.tensors[f"scratch.layer{number}_rn.weight"], padding=1)
            out = level if path is None else path + self._unit(f"{name}.resConfUnit1", level)
            out = self._unit(f"{name}.resConfUnit2", out)
            out = F.interpolate(out, scale_factor=2, mode="bilinear", align_corners=True)
            path = self._conv(f"{name}.out_conv", out, padding=0)
        assert path is not None
        return path

    def _unit(self, name: str, x: Tensor) -> Tensor:
        out = x
        for number in (1, 2):
            out = F.conv2d(F.relu(out), self.tensors[f"{name}.conv{number}.weight"], padding=1)
            mean, variance = (self.tensors[f"{name}.bn{number}.running_{part}"] for part in ("mean", "var"))
            out = F.batch_norm(out, mean, variance, *self._weights(f"{name}.bn{number}"))
        return out + x

    def _conv(self, name: str, x: Tensor, padding: int) -> Tensor:
        return F.conv2d(x, *self._weights(name), padding=padding)

    def _text(self, labels: Sequence[str]) -> Tensor:
        """CLIP's text tower: [K, E]."""
        name, tokens = "clip_pretrained", clip.tokenize(list(labels))
        x = self.tensors[f"{name}.token_embedding.weight"][tokens] + self.tensors[f"{name}.positional_embedding"]
        mask = torch.full((tokens.shape[1], tokens.shape[1]), float("-inf")).triu(1)
        for index in range(self._count(f"{name}.transformer.resblocks.")):
            block = f"{name}.transformer.resblocks.{index}"
            normed = F.layer_norm(x, x.shape[-1:], *self._weights(f"{block}.ln_1"))
            weight, bias = (self.tensors[f"{block}.attn.in_proj_{part}"] for part in ("weight", "bias"))
            x = x + F.linear(_attended(F.linear(normed, weight, bias), mask), *self._weights(f"{block}.attn.out_proj"))
            normed = F.layer_norm(x, x.shape[-1:], *self._weights(f"{block}.ln_2"))
            hidden = F.linear(normed, *self._weights(f"{block}.mlp.c_fc"))
            x = x + F.linear(hidden * torch.sigmoid(1.702 * hidden), *self._weights(f"{block}.mlp.c_proj"))
        x = F.layer_norm(x, x.shape[-1:], *self._weights(f"{name}.ln_final"))
        end = tokens.argmax(dim=-1)
        ends: Tensor = x[torch.arange(len(x)), end]
        return ends @ self.tensors[f"{name}.text_projection"]


def _attended(qkv: Tensor, mask: Tensor | None = None) -> Tensor:
    """[B, L, 3*D] -> [B, L, D]."""
    batch, length, triple = qkv.shape
    q, k, v = qkv.reshape(batch, length, 3, -1, _HEAD).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1)) * _HEAD**-0.5
    if mask is not None:
        weights = weights + mask
    blended: Tensor = weights.softmax(dim=-1) @ v
    return blended.transpose(1, 2).reshape(batch, length, triple // 3)


def summed_scores(
    network: Network,
    image: npt.NDArray[np.uint8],
    *,
    scales: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
    flip: bool = True,
    crop_size: int = 480,
    base_size: int = 520,
    stride: int = 320,
    resize: str = "bilinear",
) -> Tensor:
    """lang-seg's multi-scale evaluation: the sum of scores [K, H, W] for `image` [H, W, 3]; defaults as published."""
    height, width = image.shape[:2]
    pixels = _normalised(image)
    total = torch.zeros(())
    for scale in scales:
        scaled = _resized(pixels, _scaled_size(height, width, math.ceil(base_size * scale)), resize)
        mean = _mean_of_windows(network, scaled, crop_size, stride, flip=flip)
        total = total + _resized(mean, (height, width), resize)
    return total[0]


def _scaled_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """(height, width) with `long_side`; the short side is rounded half up, in whole numbers, and at least 1."""
    short, long = sorted((height, width))
    short_side = max(1, (2 * short * long_side + long) // (2 * long))
    return (long_side, short_side) if height > width else (short_side, long_side)


def _mean_of_windows(network: Network, scaled: Tensor, crop_size: int, stride: int, *, flip: bool) -> Tensor:
    """Logits [1, K, *scaled.shape[2:]]: each pixel's mean over its windows. With `flip`, a window's mirror is added."""
    height, width = scaled.shape[2:]
    padded = _padded(scaled, crop_size)
    sums, counts = torch.zeros(()), torch.zeros(1, 1, *padded.shape[2:])
    for top in range(0, padded.shape[2] - crop_size + stride, stride):
        for left in range(0, padded.shape[3] - crop_size + stride, stride):
            window = padded[:, :, top : top + crop_size, left : left + crop_size]
            crop = _padded(window, crop_size)
            scores = network(crop) + network(crop.flip(3)).flip(3) if flip else network(crop)
            rows, columns = window.shape[2:]
            if sums.ndim == 0:
                sums = torch.zeros(1, scores.shape[1], *padded.shape[2:])
            sums[:, :, top : top + rows, left : left + columns] += scores[:, :, :rows, :columns]
            counts[:, :, top : top + rows, left : left + columns] += 1
    return (sums / counts)[:, :, :height, :width]


def _normalised(image: npt.NDArray[np.uint8]) -> Tensor:
    """RGB [H, W, 3], 0..255 -> [1, 3, H, W], -1..1."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def _resized(x: Tensor, size: tuple[int, int], resize: str) -> Tensor:
    return F.interpolate(x, size=size, mode=resize, align_corners=True if resize == "bilinear" else None)


def _padded(x: Tensor, side: int) -> Tensor:
    """`x` with black to the right and below, up to a window's size."""
    return F.pad(x, (0, max(0, side - x.shape[3]), 0, max(0, side - x.shape[2])), value=-1.0)
