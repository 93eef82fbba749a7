"""Weights and inputs in 8 bits, by the arithmetic alone: runs on any processor, whatever products it has."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lseg_serve.model.int8 import Int8Conv2d, Int8Linear, quantized_input, quantized_weight


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(8))


@pytest.mark.parametrize("shape", [(6, 40), (6, 5, 3, 3)], ids=["linear", "convolution"])
def test_the_largest_weight_of_each_output_channel_becomes_127(shape: tuple[int, ...]) -> None:
    weight = _random(*shape) * torch.logspace(-3, 2, shape[0]).view(-1, *[1] * (len(shape) - 1))
    integers, scale = quantized_weight(weight)
    rows = weight.flatten(1)
    largest = rows.abs().argmax(dim=1, keepdim=True)
    expected = 127 * rows.gather(1, largest).sign()
    torch.testing.assert_close(integers.flatten(1).gather(1, largest).float(), expected, rtol=0, atol=0)
    torch.testing.assert_close(scale, rows.abs().amax(dim=1) / 127)
    errors = (integers.flatten(1) * scale[:, None] - rows).abs()
    assert (errors <= scale[:, None] * 0.5001).all(), "each weight is rounded to the nearest step"


def test_a_channel_of_zeros_stays_zero() -> None:
    integers, scale = quantized_weight(torch.zeros(2, 8))
    assert not integers.any()
    assert (scale > 0).all()


def test_layers_hold_the_weights_of_their_float_selves() -> None:
    linear, conv = nn.Linear(40, 6), nn.Conv2d(5, 6, kernel_size=3)
    for layer, weight in ((Int8Linear(linear), linear.weight), (Int8Conv2d(conv, rectified=True), conv.weight)):
        assert layer.weight.abs().amax() == 127
        restored = layer.dequantized().weight
        step = weight.detach().abs().flatten(1).amax(dim=1).view(-1, *[1] * (weight.ndim - 1)) / 127
        assert ((restored - weight).abs() <= step * 0.5001).all()


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("shift", [-4.0, 0.0, 4.0], ids=["mostly negative", "even", "mostly positive"])
def test_an_input_is_rounded_within_its_range(shift: float, rectified: bool) -> None:
    x = _random(3, 50) + shift
    integers, scale, zero_point = quantized_input(x, rectified=rectified)
    assert integers.dtype == torch.uint8
    expected = x.clamp(min=0) if rectified else x
    restored = (integers.float() - zero_point) * scale
    torch.testing.assert_close(restored, expected, rtol=0, atol=0.51 * scale)
    exact_zero = quantized_input(torch.tensor([0.0, 1.0, -0.3]), rectified=rectified)
    assert int(exact_zero[0][0]) == exact_zero[2], "zero is exact, since padding is zero"


@pytest.mark.parametrize("high", [251.5, 252.5, 253.5, 254.5])
def test_the_largest_input_does_not_wrap_where_the_zero_point_is_rounded_up(high: float) -> None:
    """In 255 steps, 253.5 with a lowest value of -1.5 would become 256, which 8 bits hold as 0."""
    x = torch.tensor([-1.5, high])
    integers, scale, zero_point = quantized_input(x, rectified=False)
    torch.testing.assert_close((integers.float() - zero_point) * scale, x, rtol=0, atol=0.51 * scale)
