"""The memory of the simulated card."""

from __future__ import annotations

import pytest
import torch

from tests.gaudi.process import simulated

KEYS = (
    "Limit InUse MaxInUse NumAllocs NumFrees ActiveAllocs MaxAllocSize TotalSystemAllocs TotalSystemFrees "
    "TotalActiveAllocs"
)


@simulated(SIMULATED_GAUDI_MEMORY_BYTES="1000000")
def test_memory_in_use_follows_the_tensors_alive() -> None:
    import habana_frameworks.torch.core  # noqa: F401

    assert list(torch.hpu.memory_stats()) == KEYS.split()
    assert torch.hpu.mem_get_info() == (1_000_000, 1_000_000)
    x = torch.ones(1000).to("hpu")
    assert torch.hpu.memory_allocated() == 4000
    view = x.view(10, 100)[0]
    assert torch.hpu.memory_allocated() == 4000  # shared
    y = x + 1
    assert torch.hpu.mem_get_info() == (992_000, 1_000_000)
    del x, y
    assert torch.hpu.memory_allocated() == 4000  # the view holds all of it
    del view
    assert torch.hpu.memory_allocated() == 0
    assert torch.hpu.max_memory_allocated() == 8000
    torch.hpu.reset_peak_memory_stats()
    assert torch.hpu.max_memory_allocated() == 0


@simulated(SIMULATED_GAUDI_MEMORY_BYTES="10485760")
def test_what_does_not_fit_is_refused_as_on_the_real_card() -> None:
    import habana_frameworks.torch.core  # noqa: F401

    kept = torch.zeros(2**20, device="hpu")
    text = r"^\[Rank:0\] FATAL ERROR :: MODULE:PT_DEVMEM Allocation failed for size::8388608 \(8\)MB$"
    with pytest.raises(RuntimeError, match=text):
        torch.zeros(2**21, device="hpu")
    assert torch.hpu.memory_allocated() == kept.nbytes
    del kept
    torch.zeros(2**21, device="hpu")


@simulated(SIMULATED_GAUDI_RECIPE_BYTES="1000")
def test_every_recipe_holds_memory() -> None:
    import habana_frameworks.torch.core  # noqa: F401

    for width in (1, 2, 3, 1):
        torch.ones(width).to("hpu").relu().cpu()
    assert torch.hpu.memory_allocated() == 3000
