"""Warm-up: every shape is run before the first request, the most used shapes first.

Without it, the first request of each shape would wait until the device has prepared or compiled that shape.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lseg_serve.segmenter.config import HpuParams
from lseg_serve.segmenter.devices import Device, GraphCounts
from lseg_serve.segmenter.engine.network import Network
from lseg_serve.segmenter.engine.shapes import Graph

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WarmUp:
    """The graphs that were run, and the cold ones that were not: the first request for a cold one waits for it."""

    warm: tuple[Graph, ...]
    cold: tuple[Graph, ...]
    seconds: float


def warm_up(network: Network, limits: HpuParams) -> WarmUp:
    """Run the shapes of `network`. On a device that compiles each of them, stop at the `limits` in time and memory."""
    graphs = _graphs(network)
    start = time.perf_counter()
    for done, graph in enumerate(graphs):
        reason = _reason_to_stop(network.device, limits, time.perf_counter() - start)
        if reason is not None:
            cold = graphs[done:]
            logger.warning("Warm-up stopped: %s. Cold: %s", reason, ", ".join(map(str, cold)))
            return WarmUp(tuple(graphs[:done]), tuple(cold), time.perf_counter() - start)
        _run(network, graph, f"[{done + 1}/{len(graphs)}]")
    return WarmUp(tuple(graphs), (), time.perf_counter() - start)


def _graphs(network: Network) -> Sequence[Graph]:
    shapes, device = network.shapes, network.device
    if device.compiles_each_shape:
        return shapes.graphs()
    images = shapes.image_graphs()
    return images if device.prepares_each_shape else images[:1]


def _reason_to_stop(device: Device, limits: HpuParams, seconds: float) -> str | None:
    if not device.compiles_each_shape:
        return None
    if seconds > limits.warm_up_seconds:
        return f"it took more than hpu.warm_up_seconds ({limits.warm_up_seconds})"
    memory = device.memory()
    if memory is not None and memory.free < limits.least_free_megabytes * 1e6:
        return (
            f"{memory.free / 1e6:.0f} MB of the card are free, less than hpu.least_free_megabytes "
            f"({limits.least_free_megabytes})"
        )
    return None


def _run(network: Network, graph: Graph, place: str) -> None:
    before, start = network.device.graph_counts(), time.perf_counter()
    for _ in range(network.device.runs_to_warm):
        network.run_blank(graph)
    network.device.wait()
    seconds = time.perf_counter() - start
    memory = network.device.memory()
    free = "" if memory is None else f", {memory.free / 1e9:.2f} GB free"
    logger.info(
        "%s %s, %.1f s%s%s", place, graph, seconds, free, _compiled_before(before, network.device.graph_counts())
    )


def _compiled_before(before: GraphCounts | None, after: GraphCounts | None) -> str:
    if before is None or after is None or after.compilations > before.compilations:
        return ""
    return ", compiled before"
