"""Operators one by one on the device, against the same in float64 on the host: what may differ on a new kind of device.

Some are not used any more, because they were doubtful on a Gaudi. They are tried to learn whether that was right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.segmenter.check.report import Check
from lseg_serve.segmenter.devices import Device


@dataclass(frozen=True)
class _Point:
    name: str
    operation: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    limit: float  # of the largest error, as a part of the largest value
    needed: bool = True


@torch.no_grad()
def try_points(device: Device) -> list[Check]:
    """Every operator, tried by itself: one that the device refuses is a check that failed."""
    return [_tried(device, point) for point in _points(device)]


def _points(device: Device) -> Iterator[_Point]:
    made = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=made)

    rows, positive = random(64, 512), 1 + torch.rand(64, 512, generator=made)
    image, tokens = random(1, 32, 30, 40), torch.randint(0, 49408, (20, 77), generator=made)
    heads = tuple(random(1, 4, 64, 64).bfloat16() for _ in range(3))
    numbers = torch.tensor([5, 0, 3, 3, 31])
    yield _Point("product in float32", lambda a, b: a @ b.T, (rows, positive), 1e-5)
    yield _Point("convolution in float32", F.conv2d, (image, random(16, 32, 3, 3)), 1e-5)
    yield _Point("transposed convolution", _transposed, (image, random(32, 16, 4, 4)), 1e-5)
    yield _Point("division", torch.div, (rows, positive), 5e-7)
    yield _Point("reciprocal root", torch.rsqrt, (positive,), 1e-6)
    yield _Point("exact GELU", F.gelu, (rows,), 1e-6)  # its tanh form is off by 1e-4
    yield _Point("softmax", lambda x: torch.softmax(x, -1), (8 * rows,), 1e-5)
    yield _Point("layer norm", lambda x: F.layer_norm(x, (512,)), (rows,), 1e-5)
    yield _Point("resize in float32", _resized, (image,), 1e-5)
    yield _Point("resize of positions", _positions, (random(1, 32, 12, 12),), 1e-5, needed=False)
    yield _Point("resize in bfloat16", _resized, (image.bfloat16(),), 2e-2, needed=False)
    yield _Point("attention in bfloat16", device.attention() or F.scaled_dot_product_attention, heads, 3e-2)
    yield _Point("argmax of int32", lambda x: x.argmax(-1), (tokens.int(),), 0.0)
    yield _Point("argmax of int64", lambda x: x.argmax(-1), (tokens,), 0.0, needed=False)
    yield _Point("index_select", lambda x, i: x.index_select(1, i), (image, numbers), 0.0)
    yield _Point("indexing by a tensor", lambda x, i: x[:, i], (image, numbers), 0.0, needed=False)
    yield _Point("softmax under a causal mask", _causal, (rows[:, :64],), 1e-5)
    yield _Point("triu of minus infinity", lambda x: (x - math.inf).triu(1), (rows[:, :64],), 0.0, needed=False)
    yield _Point("pixel unshuffle and diagonal", _rearranged, (image,), 0.0)


def _resized(image: Tensor) -> Tensor:
    return F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=True)


def _positions(grid: Tensor) -> Tensor:
    """As a ViT's positions are resized, corners not aligned: on the host, as torch_xla 2.9 computes it wrong."""
    return F.interpolate(grid, size=(15, 20), mode="bilinear", align_corners=False)


def _transposed(image: Tensor, weight: Tensor) -> Tensor:
    return F.conv_transpose2d(image, weight, stride=4)


def _causal(scores: Tensor) -> Tensor:
    later = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(later, -math.inf), dim=-1)


def _rearranged(image: Tensor) -> Tensor:
    return F.pixel_unshuffle(image, 2)[..., :15].diagonal(dim1=2, dim2=3)


def _tried(device: Device, point: _Point) -> Check:
    exact = point.operation(*(one.double() if one.is_floating_point() else one for one in point.inputs))
    before = device.graph_counts()
    try:
        found = device.to_host(point.operation(*map(device.to_device, point.inputs))).double()
    except Exception as failure:  # whatever a device's software raises is what is looked for
        return Check(point.name, False, f"{type(failure).__name__}: {failure}".split("\n")[0], point.needed)
    after = device.graph_counts()
    if before is not None and after is not None and after.fallbacks > before.fallbacks:
        return Check(point.name, False, "runs on the host", point.needed)
    error = _error(found, exact.double())
    return Check(point.name, error <= point.limit, f"error {error:.1e} of at most {point.limit:.0e}", point.needed)


def _error(found: Tensor, exact: Tensor) -> float:
    """The largest error as a part of the largest finite value; infinite if the infinities or NaNs differ."""
    finite = exact.isfinite()
    if not torch.equal(found.isfinite(), finite) or not torch.equal(found[~finite], exact[~finite]):
        return math.inf
    scale = float(exact[finite].abs().max()) or 1.0
    return float((found - exact)[finite].abs().max()) / scale
