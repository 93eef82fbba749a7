"""The project's own network on the simulated Gaudi."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.gaudi.process import simulated

SIZES = [(96, 96), (96, 128), (96, 96), (96, 128), (96, 96)]


def compiles_of(
    step: Callable[[torch.Tensor], torch.Tensor], tolerance: float, sizes: list[tuple[int, int]] = SIZES
) -> list[int]:
    """Compiles of each run of `step`, whose results are compared with those of the CPU."""
    import habana_frameworks.torch.core as htcore
    from habana_frameworks.torch.simulated import counts

    compiles = []
    for height, width in sizes:
        pixels = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(width)) * 2 - 1
        before = counts()
        result = step(pixels.to("hpu"))
        htcore.mark_step()
        got = result.cpu()
        compiles.append(counts().since(before).compiles)
        assert counts().fallbacks == {} and counts().since(before).syncs == 1
        torch.testing.assert_close(got, _expected(pixels), atol=tolerance, rtol=0)
        del result
    return compiles


def _network() -> Callable[[torch.Tensor], torch.Tensor]:
    import habana_frameworks.torch.core  # noqa: F401

    from tests.support.networks import SMALL, random_network

    net = random_network(SMALL).to("hpu")
    text = net.encode_labels(["cat", "grass", "other"])
    return torch.no_grad()(lambda pixels: net.scores(net.pixel_embeddings(pixels), text))


def _expected(pixels: torch.Tensor) -> torch.Tensor:
    from tests.support.networks import SMALL, random_network

    net = random_network(SMALL)
    return net.scores(net.pixel_embeddings(pixels), net.encode_labels(["cat", "grass", "other"]))


@simulated(PT_HPU_FORCE_TANH_FOR_GELU="0", PT_HPU_PLACE_ON_CPU="none")
def test_lazily_it_compiles_once_for_each_size() -> None:
    network = _network()
    torch.hpu.synchronize()  # the text's graph is its own
    assert compiles_of(network, 1e-4) == [1, 1, 0, 0, 0]


@simulated(PT_HPU_FORCE_TANH_FOR_GELU="0", PT_HPU_PLACE_ON_CPU="none", PT_HPU_LAZY_MODE="0")
def test_compiled_it_is_one_recipe() -> None:
    step = torch.compile(_network(), backend="hpu_backend", dynamic=False)
    assert compiles_of(step, 1e-4, SIZES[:1] * 3) == [1, 0, 0]


@simulated(PT_HPU_FORCE_TANH_FOR_GELU="0", PT_HPU_PLACE_ON_CPU="none")
def test_embeddings_equal_those_of_the_cpu() -> None:
    import habana_frameworks.torch.core  # noqa: F401

    from tests.support.networks import SMALL, random_network

    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    expected = random_network(SMALL).pixel_embeddings(pixels)
    with torch.no_grad():
        got = random_network(SMALL).to("hpu").pixel_embeddings(pixels.to("hpu")).cpu()
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@simulated(PT_HPU_PLACE_ON_CPU="none")
def test_with_hpu_graphs_and_autocast_it_is_captured_once_for_each_size() -> None:
    from habana_frameworks.torch.hpu import wrap_in_hpu_graph_func
    from habana_frameworks.torch.simulated import counts

    network = wrap_in_hpu_graph_func(_network())

    def step(pixels: torch.Tensor) -> torch.Tensor:
        with torch.autocast("hpu", torch.bfloat16):
            return network(pixels).float()

    compiles_of(step, 0.5)  # of logits up to 14 in size
    assert counts().graph_replays == 3
