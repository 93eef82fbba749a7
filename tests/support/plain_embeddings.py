"""Embeddings by their plain definition: whole maps of unit vectors, resized by torch. Small images only.

`network` is `LSeg.pixel_embeddings`: pixels [1, 3, H, W] in -1..1 -> unit embeddings [1, E, H/2, W/2]. Nothing of
`segmenter/embed` or `embeddings/` is used.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.bench.naive import summed_scores

Network = Callable[[Tensor], Tensor]
Image = npt.NDArray[np.uint8]


def fast(network: Network, pixels: Tensor, height: int, width: int) -> Tensor:
    """The map at the image's size, as scores are resized: to the input `pixels` [1, 3, h, w], then to the image."""
    doubled = resized(network(pixels), (pixels.shape[2], pixels.shape[3]))
    return F.interpolate(doubled, size=(height, width), mode="bilinear", align_corners=False)[0]


def accurate(network: Network, image: Image, **params: object) -> Tensor:
    """lang-seg's evaluation with E embeddings in the place of K scores: the sum [E, H, W]."""

    def doubled(pixels: Tensor) -> Tensor:
        return resized(network(pixels), (pixels.shape[2], pixels.shape[3]))

    return summed_scores(doubled, image, **params)  # type: ignore[arg-type]


def openscene(network: Network, image: Image) -> Tensor:
    """OpenScene's features [E, H, W]: twice its long side, filled up to a square; the half-size map is cut to it."""
    height, width = image.shape[:2]
    side = 2 * max(height, width)
    square = -(-side // 32) * 32
    scaled = resized(normalized(image), _sized(height, width, side))
    filled = F.pad(scaled, (0, square - scaled.shape[3], 0, square - scaled.shape[2]), value=-1.0)
    total = network(filled) + network(filled.flip(3)).flip(3)
    return total[0, :, :height, :width]


def vlmaps(network: Network, image: Image, side: int = 520, crop: int = 480, stride: int = 320) -> Tensor:
    """VLMaps' features [E, h, w] of the image resized to `side`: float16 windows, times 1 / 0.07, doubled, averaged."""
    scaled = resized(normalized(image), _sized(image.shape[0], image.shape[1], side))
    height, width = scaled.shape[2:]
    filled = F.pad(scaled, (0, max(0, crop - width), 0, max(0, crop - height)), value=-1.0)
    total, counts = torch.zeros(()), torch.zeros(filled.shape[2:])
    for top in _starts(filled.shape[2], crop, stride):
        for left in _starts(filled.shape[3], crop, stride):
            window = filled[:, :, top : top + crop, left : left + crop]
            rows, columns = window.shape[2:]
            window = F.pad(window, (0, crop - columns, 0, crop - rows), value=-1.0)
            found = (network(window).half() * (1 / 0.07)).float()
            if total.ndim == 0:
                total = torch.zeros(found.shape[1], *filled.shape[2:])
            total[:, top : top + rows, left : left + columns] += resized(found, (crop, crop))[0, :, :rows, :columns]
            counts[top : top + rows, left : left + columns] += 1
    return (total / counts)[:, :height, :width]


def sampled(found: Tensor, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Tensor:
    """`found` [E, h, w] at places within it, bilinear: [N, E]."""
    height, width = found.shape[1:]
    grid = torch.from_numpy(np.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], axis=-1))
    taken = F.grid_sample(found[None].double(), grid[None, None], mode="bilinear", align_corners=True)
    return taken[0, :, 0].T.float()


def normalized(image: Image) -> Tensor:
    """RGB [H, W, 3], 0..255 -> [1, 3, H, W], -1..1."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """`x` at `size`, bilinear with aligned corners."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def _sized(height: int, width: int, side: int) -> tuple[int, int]:
    if height > width:
        return side, int(width * side / height + 0.5)
    return int(height * side / width + 0.5), side


def _starts(length: int, crop: int, stride: int) -> list[int]:
    return [stride * index for index in range(-(-max(0, length - crop) // stride) + 1)]
