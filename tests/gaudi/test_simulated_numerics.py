"""What the simulated Gaudi computes differently from the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.gaudi.process import child, run, simulated


def on_card(value: torch.Tensor) -> torch.Tensor:
    import habana_frameworks.torch.core  # noqa: F401

    return value.to("hpu")


@simulated()
def test_64_bit_types_compute_in_32_bits_and_report_64() -> None:
    whole = on_card(torch.tensor([2**31 - 1]))
    assert whole.dtype is torch.int64 and (whole + 1).dtype is torch.int64
    assert (whole + 1).item() == -(2**31)
    third = on_card(torch.tensor([1.0], dtype=torch.float64)) / 3
    assert third.dtype is torch.float64
    assert third.item() == torch.tensor(1 / 3, dtype=torch.float32).item() != 1 / 3
    with pytest.raises(RuntimeError, match="do not fit into int32"):
        on_card(torch.tensor([2**40]))


@simulated()
def test_gelu_is_its_tanh_form() -> None:
    x = torch.linspace(-3, 3, 50)
    got = F.gelu(on_card(x)).cpu()
    torch.testing.assert_close(got, F.gelu(x, approximate="tanh"), atol=1e-7, rtol=0)
    assert (got - F.gelu(x)).abs().max() > 1e-4


@simulated(PT_HPU_FORCE_TANH_FOR_GELU="0")
def test_gelu_is_exact_where_that_is_asked_for() -> None:
    x = torch.linspace(-3, 3, 50)
    torch.testing.assert_close(F.gelu(on_card(x)).cpu(), F.gelu(x), atol=1e-7, rtol=0)


@simulated()
def test_autocast_follows_its_four_lists() -> None:
    x, weight = on_card(torch.ones(2, 3, 4, 4)), on_card(torch.ones(4, 4))
    image, half = on_card(torch.ones(1, 3, 3, 3)), x.bfloat16()
    with torch.autocast("hpu", torch.bfloat16):
        lower = {
            "linear": F.linear(x, weight),
            "matmul": x @ weight,
            "conv2d": F.conv2d(x, image),
            "conv_transpose2d": F.conv_transpose2d(x, image.transpose(0, 1)),
            "layer_norm": F.layer_norm(x, (4,)),
            "softmax": x.softmax(-1),
            "mul": x * 2,
            "mean": x.mean(),
            "leaky_relu": F.leaky_relu(x),
            "attention": F.scaled_dot_product_attention(x, x, x),
        }
        assert {name for name, one in lower.items() if one.dtype is not torch.bfloat16} == set()
        single = {"div": half / half, "exp": half.exp(), "pow": half**2, "rsqrt": half.rsqrt(), "topk": half.topk(1)[0]}
        assert {name for name, one in single.items() if one.dtype is not torch.float32} == set()
        assert (x + half).dtype is torch.cat([x, half]).dtype is torch.float32
        assert (half + half).dtype is torch.bfloat16
        for operate in (F.gelu, F.relu, torch.linalg.vector_norm, lambda t: F.interpolate(t, scale_factor=2.0)):
            assert (operate(x).dtype, operate(half).dtype) == (torch.float32, torch.bfloat16)
        normalized = F.layer_norm(x, (4,), weight[0], weight[0])  # only the input is cast, not the weights
        assert normalized.dtype is torch.bfloat16
        with torch.autocast("hpu", enabled=False):
            assert (x @ weight).dtype is torch.float32
    assert (x @ weight).dtype is torch.float32


def dtypes() -> list[str]:
    x = on_card(torch.ones(4, 4))
    with torch.autocast("hpu", torch.bfloat16):
        return [str(one.dtype) for one in (x @ x, x.softmax(-1), x.bfloat16().relu())]


def test_files_replace_the_lists(tmp_path: Path) -> None:
    lower, single = tmp_path / "lower.txt", tmp_path / "single.txt"
    lower.write_text("matmul\n")
    single.write_text("softmax\nrelu\n")
    settings = {"PT_HPU_LAZY_MODE": "1", "SIMULATED_GAUDI_FOLDER": str(tmp_path)}
    assert run(dtypes, **settings) == ["torch.bfloat16"] * 3
    files = {"PT_HPU_AUTOCAST_LOWER_PRECISION_OPS_LIST": str(lower), "PT_HPU_AUTOCAST_FP32_OPS_LIST": str(single)}
    assert run(dtypes, **settings, **files) == ["torch.bfloat16", "torch.float32", "torch.float32"]
    lower.write_text("matmul mm\n")  # a line is a name, and no operator has this one
    assert run(dtypes, **settings, **files) == ["torch.float32", "torch.float32", "torch.float32"]
    with child(dtypes, **settings, PT_HPU_AUTOCAST_LOWER_PRECISION_OPS_LIST=str(tmp_path / "absent")) as outcome:
        assert outcome.value == ["torch.bfloat16"] * 3
        assert "absent, which cannot be opened; the default list holds" in outcome.stderr
