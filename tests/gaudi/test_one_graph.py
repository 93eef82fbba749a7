"""torch.compile makes one whole graph of each planned shape, and needs no other for any request.

A backend that only counts takes the place of Gaudi's, as eager mode calls it; `fullgraph` makes a break an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
import torch._dynamo
from torch import Tensor, fx

from lseg_serve.model import Architecture, Attend, attend_by_products
from lseg_serve.segmenter import Config, GraphCounts, Segmenter
from lseg_serve.segmenter.devices import Device
from lseg_serve.segmenter.devices.base import Step
from tests.gaudi import workload
from tests.support.networks import SMALL, SMALL_RESNET, random_network

BATCHES = 12


class CountingDevice(Device):
    """The CPU, with shapes planned and steps compiled as on a Gaudi in eager mode."""

    kind = "cpu"
    prepares_each_shape = True
    compiles_each_shape = True

    def __init__(self, config: Config) -> None:
        self.batch_sizes, self.bfloat16 = config.hpu.batch_sizes, config.hpu.bfloat16
        self.graphs = 0
        super().__init__()

    @classmethod
    def unavailable_reason(cls) -> str | None:
        return None

    def describe(self) -> str:
        return "cpu, compiled by a backend that counts"

    def attention(self) -> Attend:
        return attend_by_products

    def prepare(self, step: Step, *, short: bool = False) -> Step:
        del short
        compiled: Step = torch.compile(step, backend=self._count, dynamic=False, fullgraph=True)
        return compiled

    def reduced_precision(self) -> AbstractContextManager[object]:
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bfloat16)

    def graph_counts(self) -> GraphCounts:
        return GraphCounts(compilations=self.graphs)

    def _count(self, graph: fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., object]:
        del inputs
        self.graphs += 1
        return graph.forward


@pytest.fixture
def _enough_shapes() -> Iterator[None]:
    """By default torch keeps 8 graphs of a function, and `fullgraph` makes the ninth an error."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(cache_size_limit=64, accumulated_cache_size_limit=512):
        yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_enough_shapes")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "bfloat16"), [(SMALL, True), (SMALL_RESNET, False)], ids=["vit bfloat16", "resnet float32"]
)
def test_each_planned_shape_is_one_graph_and_requests_need_no_other(architecture: Architecture, bfloat16: bool) -> None:
    config = workload.CONFIG.replaced(hpu=workload.CONFIG.hpu.replaced(bfloat16=bfloat16))
    device = CountingDevice(config)
    segmenter = Segmenter(random_network(architecture), config=config, device=device)
    planned = segmenter.shapes.graphs()
    segmenter.warm_up()
    assert device.graphs == len(planned)
    for graph in planned:
        segmenter.network.run_blank(graph)
    rng = np.random.default_rng(0)
    for number in range(BATCHES):
        segmenter.segment_batch(workload.jobs(1 + number % 8, rng, ("fast", "accurate")[number % 2]))
    assert device.graphs == len(planned)
    assert not torch._dynamo.utils.counters["graph_break"]
