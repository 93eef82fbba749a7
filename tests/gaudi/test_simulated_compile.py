"""torch.compile with the simulated Gaudi's backend, in eager mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.gaudi.process import simulated


@simulated(PT_HPU_LAZY_MODE="0")
def test_a_compiled_function_is_one_recipe_for_each_shape() -> None:
    import habana_frameworks.torch.core  # noqa: F401
    from habana_frameworks.torch.simulated import compiled_graphs, counts

    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LayerNorm(4)).requires_grad_(False)
    pixels = torch.randn(3, 4)
    expected = net(pixels) * 2 + 1
    net.to("hpu")
    step = torch.compile(lambda x: net(x) * 2 + torch.ones(4, device=x.device), backend="hpu_backend", dynamic=False)
    compiles = []
    for rows in (3, 3, 2, 2, 3):
        before = counts()
        result = step(pixels[:rows].to("hpu"))
        done = counts().since(before)
        compiles.append(done.compiles)
        assert done.launches == 1 and str(result.device) == "hpu:0"
        torch.testing.assert_close(result.cpu(), expected[:rows])
    assert compiles == [1, 0, 1, 0, 0]
    assert compiled_graphs()[0].cut_by == "hpu_backend" and "float32[3,4]" in str(compiled_graphs()[0])


@simulated()
def test_lazy_mode_has_no_compiler_backend() -> None:
    import habana_frameworks.torch.core  # noqa: F401

    with pytest.raises(RuntimeError, match="eager mode"):
        torch.compile(lambda x: x + 1, backend="hpu_backend")(torch.ones(2).to("hpu"))
