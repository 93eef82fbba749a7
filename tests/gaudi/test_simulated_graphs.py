"""What the simulated Gaudi accumulates, what cuts it, and what makes it compile again."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from tests.gaudi.process import simulated


def compiled_by(run: Callable[[], object]) -> int:
    """How many graphs `run` and the step after it compile; what `run` returns lives until then."""
    import habana_frameworks.torch.core as htcore
    from habana_frameworks.torch.simulated import counts

    before = counts()
    kept = run()
    htcore.mark_step()
    del kept
    return counts().since(before).compiles


def on_card(*shape: int) -> torch.Tensor:
    import habana_frameworks.torch.core  # noqa: F401

    return torch.ones(*shape).to("hpu")


@simulated()
def test_operators_between_two_steps_are_one_graph() -> None:
    from habana_frameworks.torch.simulated import compiled_graphs

    x = on_card(2, 3)
    assert compiled_by(lambda: (x + 1).relu().sum()) == 1
    (graph,) = compiled_graphs()
    assert graph.operators == ("aten::add.Tensor", "aten::relu", "aten::sum")
    assert graph.inputs == ("float32[2,3]",) and graph.outputs == 1
    assert "add relu sum" in str(graph) and "mark_step" in str(graph)


@simulated()
def test_the_same_graph_compiles_once_and_a_new_shape_or_dtype_again() -> None:
    x, wide = on_card(2, 3), on_card(2, 4)
    assert [compiled_by(lambda: x.relu()) for _ in range(10)] == [1] + [0] * 9
    assert compiled_by(lambda: wide.relu()) == 1
    half = x.bfloat16()
    compiled_by(lambda: half)
    assert compiled_by(lambda: half.relu()) == 1
    assert compiled_by(lambda: x.relu()) == 0


@simulated()
def test_memory_format_is_part_of_the_key() -> None:
    x = on_card(1, 2, 4, 4)
    y = torch.ones(1, 2, 4, 4).to(memory_format=torch.channels_last).to("hpu")
    assert [compiled_by(lambda: x.relu()), compiled_by(lambda: y.relu())] == [1, 1]


@simulated()
def test_one_more_live_output_is_another_graph() -> None:
    x = on_card(2, 3)

    def keep_both() -> object:
        y = x + 1
        return y, y.relu()

    assert compiled_by(lambda: (x + 1).relu()) == 1
    assert compiled_by(keep_both) == 1
    assert [compiled_by(lambda: (x + 1).relu()), compiled_by(keep_both)] == [0, 0]


@simulated()
def test_what_nobody_reads_is_not_computed() -> None:
    from habana_frameworks.torch.simulated import compiled_graphs

    x = on_card(2, 3)

    def drop_one() -> object:
        x.exp()
        return x.relu()

    assert compiled_by(drop_one) == 1
    assert compiled_graphs()[-1].operators == ("aten::relu",)
    assert compiled_by(lambda: (x.cos(), None)[1]) == 0


@simulated()
def test_writes_in_place_through_a_view_reach_the_graph() -> None:
    from habana_frameworks.torch.simulated import compiled_graphs

    buffer = torch.zeros(3, device="hpu")

    def write() -> object:
        buffer[0].add_(2)
        return buffer * 1

    assert compiled_by(write) == 1
    assert "aten::add_.Tensor" in compiled_graphs()[-1].operators
    assert buffer.cpu().tolist() == [2, 0, 0]


@simulated()
def test_scalars_of_binary_operators_are_no_part_of_the_key() -> None:
    x = on_card(2, 3)
    for operate in (torch.add, torch.mul, torch.div, torch.sub, torch.gt, torch.eq):
        compiles = [compiled_by(lambda value=value, operate=operate: operate(x, value)) for value in (2.5, 3.5, 4.5)]
        assert compiles == [1, 0, 0], operate
    assert [compiled_by(lambda value=value: 1 / value * x) for value in (2, 3)] == [0, 0]


@simulated()
def test_scalars_that_are_attributes_are_part_of_the_key() -> None:
    x = on_card(4, 6)
    changes: dict[str, Callable[[int], object]] = {
        "slice": lambda n: x[n:].relu(),
        "view": lambda n: x.view(2 * n, -1).relu(),
        "clamp": lambda n: x.clamp(0, n),
        "leaky_relu": lambda n: torch.nn.functional.leaky_relu(x, n / 10),
        "pad": lambda n: torch.nn.functional.pad(x, (n, 0)),
        "pad value": lambda n: torch.nn.functional.pad(x, (1, 0), value=n),
        "softmax": lambda n: x.softmax(n - 1),
        "interpolate": lambda n: torch.nn.functional.interpolate(x[None], scale_factor=2 * n),
    }
    for name, change in changes.items():
        assert [compiled_by(lambda n=n, change=change: change(n)) for n in (1, 2)] == [1, 1], name


@simulated()
def test_a_repeated_input_is_another_graph_than_two_inputs() -> None:
    x, y = on_card(2), on_card(2)
    assert [compiled_by(lambda: x + y), compiled_by(lambda: x + x), compiled_by(lambda: y + y)] == [1, 1, 0]


@simulated()
def test_constants_marked_for_inference_are_part_of_the_key() -> None:
    import habana_frameworks.torch.core as htcore

    net = torch.nn.Linear(3, 3).requires_grad_(False).to("hpu")
    x = on_card(2, 3)
    assert [compiled_by(lambda: net(x)), compiled_by(lambda: net(x))] == [1, 0]
    htcore.hpu_inference_initialize(net)
    assert [compiled_by(lambda: net(x)), compiled_by(lambda: net(x))] == [1, 0]


@simulated()
def test_reading_cuts_where_something_is_pending() -> None:
    import habana_frameworks.torch.core as htcore
    from habana_frameworks.torch.simulated import compiled_graphs, counts

    x = on_card(3)
    readers: dict[str, Callable[[torch.Tensor], object]] = {
        "cpu": lambda t: t.cpu(),
        "to": lambda t: t.to("cpu"),
        "item": lambda t: t.sum().item(),
        "bool": lambda t: bool(t.sum() > 1),
        "int": lambda t: int(t.sum()),
        "repr": repr,
        "tolist": lambda t: t.tolist(),
        "copy_": lambda t: torch.zeros(3).copy_(t),
    }
    for name, read in readers.items():
        before = counts()
        read(x + 1)
        after = counts().since(before)
        assert (after.launches, after.syncs, after.device_to_host) == (1, 1, 1), name
    before = counts()
    y = x + 1
    htcore.mark_step()
    y.cpu()
    assert counts().since(before).launches == 1  # the copy found it computed
    y.relu_()
    x.sum().item()
    htcore.mark_step()
    assert counts().since(before).launches == 2  # item() takes with it all that is pending
    assert compiled_graphs()[-1].cut_by == "item()"


@simulated()
def test_results_that_depend_on_content_wait_for_it() -> None:
    from habana_frameworks.torch.simulated import counts

    x = on_card(3)
    for read in (torch.nonzero, torch.unique, lambda t: t.masked_select(t > 0)):
        before = counts()
        read(x + 1)
        after = counts().since(before)
        assert after.launches >= 1 and after.syncs == 1


@simulated()
def test_other_cuts() -> None:
    from habana_frameworks.torch.simulated import counts

    x = on_card(3)
    for cut in (torch.hpu.synchronize, lambda: torch.hpu.Event().record(), lambda: torch.hpu.Stream().query()):
        before = counts()
        y = x + 1
        cut()
        assert counts().since(before).launches == 1
    y = x + 1
    before = counts()
    y.copy_(torch.zeros(3))
    assert counts().since(before).launches == 1  # it had operators pending
    assert y.cpu().tolist() == [0, 0, 0]


@simulated(PT_HPU_MAX_COMPOUND_OP_SIZE="4")
def test_the_longest_graph_is_bounded() -> None:
    from habana_frameworks.torch.simulated import compiled_graphs

    x = on_card(3)
    for _ in range(8):
        x = x + 1
    assert [len(graph.operators) for graph in compiled_graphs()] == [4]  # the second four are found again


@simulated()
def test_copies_are_counted_with_their_bytes() -> None:
    from habana_frameworks.torch.simulated import counts

    x = on_card(3, 4)
    x.cpu()
    assert (counts().host_to_device, counts().host_to_device_bytes) == (1, 48)
    assert (counts().device_to_host, counts().device_to_host_bytes) == (1, 48)


@simulated()
def test_what_is_pending_belongs_to_the_process_and_not_to_a_thread() -> None:
    import habana_frameworks.torch.core as htcore
    from habana_frameworks.torch.simulated import compiled_graphs

    kept: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: kept.append(on_card(3) + 1))
    thread.start()
    thread.join()
    htcore.mark_step()
    assert len(compiled_graphs()) == 1


@simulated()
def test_step_closures_run_once_after_the_step() -> None:
    import habana_frameworks.torch.core as htcore

    on_card(1)
    seen: list[int] = []
    assert htcore.add_step_closure(seen.append, (7,)) is None
    assert seen == []
    assert htcore.mark_step() is None
    htcore.iter_mark_step()
    assert seen == [7]


@simulated(PT_HPU_LAZY_MODE="0")
def test_in_eager_mode_every_operator_is_a_graph() -> None:
    from habana_frameworks.torch.simulated import counts

    x = on_card(2, 3)
    for _ in range(3):
        (x.view(6) + 1).relu()
    assert (counts().compiles, counts().launches) == (2, 6)  # views launch nothing


@simulated()
def test_tensors_of_host_and_card_do_not_mix() -> None:
    x = on_card(3)
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        x + torch.ones(3)
    with pytest.raises(TypeError, match="can't convert hpu:0 device type tensor to numpy"):
        x.numpy()
