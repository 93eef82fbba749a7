"""HPU graphs: captured once for each shape, played again, the results always in the same tensors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.gaudi.process import simulated


def on_card(*values: float) -> torch.Tensor:
    import habana_frameworks.torch.core  # noqa: F401

    return torch.tensor(values).to("hpu")


class Counted(nn.Module):
    """Doubles, and counts how often its Python runs."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor, shift: float = 0.0) -> torch.Tensor:
        self.calls += 1
        return (x * 2).relu() + shift


@simulated()
def test_a_replay_runs_no_python_and_gives_the_same_tensors_again() -> None:
    from habana_frameworks.torch.hpu import wrap_in_hpu_graph
    from habana_frameworks.torch.simulated import counts

    net = Counted()
    assert wrap_in_hpu_graph(net) is net
    first = net(on_card(1, 2))
    kept = first.clone()
    assert first.cpu().tolist() == [2, 4]
    second = net(on_card(3, 4))
    assert second is first  # the earlier result is overwritten
    assert first.cpu().tolist() == [6, 8] and kept.cpu().tolist() == [2, 4]
    assert (net.calls, counts().graph_replays) == (1, 1)
    net(on_card(0, 0))
    compiles = counts().compiles
    assert net(on_card(5, 6)).cpu().tolist() == [10, 12]
    assert counts().compiles == compiles


@simulated()
def test_shapes_and_values_are_the_key_and_dtypes_are_not() -> None:
    from habana_frameworks.torch.hpu import wrap_in_hpu_graph

    net = wrap_in_hpu_graph(Counted())
    results = [net(on_card(1, 2)), net(on_card(1, 2, 3)), net(on_card(1, 2), 1.0), net(on_card(1, 2), shift=1.0)]
    assert net.calls == 4 and len({id(one) for one in results}) == 4
    whole = net(torch.tensor([5, 6]).to("hpu"))
    assert whole is results[0] and whole.dtype is torch.float32 and whole.cpu().tolist() == [10, 12]
    with torch.autocast("hpu", torch.bfloat16):
        net(on_card(1, 2))
    assert net.calls == 5


@simulated()
def test_in_place_writes_and_several_results_are_played_too() -> None:
    from habana_frameworks.torch.hpu import wrap_in_hpu_graph_func

    def step(x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        y = x.clone()
        y[0].mul_(10)
        parts = (y + 1).split(1)
        return y, [part * 2 for part in parts]

    graphed = wrap_in_hpu_graph_func(step)
    graphed(on_card(1, 2))
    y, parts = graphed(on_card(3, 4))
    assert y.cpu().tolist() == [30, 4]
    assert [part.item() for part in parts] == [62, 10]


@simulated()
def test_beyond_max_graphs_it_runs_as_it_is() -> None:
    from habana_frameworks.torch.hpu import wrap_in_hpu_graph

    net = wrap_in_hpu_graph(Counted(), max_graphs=1)
    net(on_card(1))
    for _ in range(2):
        assert net(on_card(1, 2)).cpu().tolist() == [2, 4]
    assert net.calls == 3
    net(on_card(2))
    assert net.calls == 3


@simulated()
def test_keywords_of_its_own_are_taken_out() -> None:
    from habana_frameworks.torch.hpu import wrap_in_hpu_graph
    from habana_frameworks.torch.simulated import counts

    net = wrap_in_hpu_graph(Counted())
    first = net(on_card(1), cache_tensors_list=[], warmup_mode=True)
    assert net(on_card(5), warmup_mode=True) is first
    assert first.cpu().tolist() == [2] and counts().graph_replays == 0  # nothing was played
    assert net(on_card(5), bypass_hpu_graphs=True) is not first
    assert net.calls == 2
    net.clear_cache()
    assert net(on_card(5)) is not first
    with pytest.raises(TypeError):
        wrap_in_hpu_graph(Counted(), hash_with_views=True)  # type: ignore[call-arg]


@simulated()
def test_captured_graphs_hold_memory_until_the_cache_is_cleared() -> None:
    from habana_frameworks.torch.hpu import wrap_in_hpu_graph

    net = wrap_in_hpu_graph(Counted())
    x = on_card(*range(1000))
    empty = torch.hpu.memory_allocated()
    net(x)
    assert torch.hpu.memory_allocated() >= empty + 2 * x.nbytes  # an intermediate and the result
    net.clear_cache()
    assert torch.hpu.memory_allocated() == empty


@simulated(PT_HPU_LAZY_MODE="0")
def test_eager_mode_has_none() -> None:
    from habana_frameworks.torch.hpu import wrap_in_hpu_graph

    with pytest.raises(RuntimeError, match="lazy mode"):
        wrap_in_hpu_graph(Counted())(on_card(1))
