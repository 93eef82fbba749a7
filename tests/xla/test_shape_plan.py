"""The plan of shapes on a real lazy engine: warm-up compiles what is planned, and requests compile nothing.

Each test runs in a process of its own, because XLA keeps what it has compiled as long as its process lives.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pytest

from lseg_serve.model.architecture import PRESETS
from lseg_serve.segmenter import Config, Job, Segmentation, Segmenter
from tests.gaudi import workload
from tests.gaudi.process import run
from tests.support.networks import SMALL, random_network
from tests.support.pictures import noise

REQUESTS = 300
MODES = ("fast", "accurate")
# Height, width and labels: every bucket of image and of labels of the default configuration.
IMAGES = (
    (480, 640, 3), (640, 480, 21), (1080, 1920, 41), (900, 500, 81), (64, 64, 1), (100, 110, 255),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What a run compiled, and how its results compare with the CPU's."""

    planned: int
    placement: int  # graphs compiled while the module was placed
    warm_up: int
    afterwards: int
    cached: int  # graphs that were found compiled after warm-up
    fallbacks: dict[str, int]
    statuses: dict[int, int]
    score_difference: float  # the largest, of scores of up to 14
    agreement: float  # the least share of pixels with the same label


def _small(requests: int, bfloat16: bool, cut: bool) -> dict[str, Any]:
    """Random requests through the handler, in all formats and both modes, in batches of 1 to 8."""
    from lseg_serve.handler.pipeline import respond
    from lseg_serve.handler.responses import ServerInfo
    from tests.xla.device import XlaDevice

    config = workload.CONFIG.replaced(hpu=workload.CONFIG.hpu.replaced(bfloat16=bfloat16))
    segmenter = Segmenter(random_network(SMALL), config=config, device=XlaDevice(config, cut_after_placement=cut))
    placed = segmenter.device.graph_counts()
    segmenter.warm_up()
    warm = segmenter.device.graph_counts()
    rng = np.random.default_rng(5)
    stream = workload.rows(requests, rng, workload.images(requests // 10, rng), MODES)
    server, statuses = ServerInfo("lseg", "1", "xla", 10**9), Counter[int]()
    while batch := list(itertools.islice(stream, int(rng.integers(1, 9)))):
        statuses.update(response.status for response in respond(segmenter, batch, [{}] * len(batch), server))
    jobs = [job for mode in MODES for job in workload.jobs(3, rng, mode)]
    difference, agreement = _compared(segmenter.segment_batch(jobs), workload.on_cpu().segment_batch(jobs))
    after = segmenter.device.graph_counts()
    assert placed is not None and warm is not None and after is not None
    return asdict(
        Found(
            planned=len(segmenter.shapes.graphs()),
            placement=placed.compilations,
            warm_up=warm.compilations - placed.compilations,
            afterwards=after.compilations - warm.compilations,
            cached=after.cache_hits - warm.cache_hits,
            fallbacks=segmenter.device.fallback_counts(),
            statuses=dict(statuses),
            score_difference=difference,
            agreement=agreement,
        )
    )


def _compared(found: Sequence[Segmentation], expected: Sequence[Segmentation]) -> tuple[float, float]:
    """The largest difference of a score, and the least share of pixels with the same label."""
    pairs = list(zip(found, expected, strict=True))
    differences = [float((one.scores - other.scores).abs().max()) for one, other in pairs]
    return max(differences), min(workload.agreement(one, other) for one, other in pairs)


def _published(preset: str, arch_option: int) -> dict[str, Any]:
    """A network of published size with random weights, in the default configuration, one image at a time."""
    import torch

    from tests.xla.device import XlaDevice

    torch.set_num_threads(2)
    architecture = replace(PRESETS[preset], arch_option=arch_option, block_depth=2 if arch_option else 0)
    config = Config().replaced(hpu=Config().hpu.replaced(bfloat16=False))
    segmenter = Segmenter(random_network(architecture), config=config, device=XlaDevice(config), most_images=1)
    placed = segmenter.device.graph_counts()
    segmenter.warm_up()
    warm = segmenter.device.graph_counts()
    jobs = [
        Job(noise(height, width, labels), [f"label {number}" for number in range(labels)])
        for height, width, labels in IMAGES
    ]
    jobs.append(Job(noise(60, 80), ["cat", "grass"], mode="accurate"))
    found = [segmenter.segment_batch([job])[0] for job in jobs]
    after = segmenter.device.graph_counts()
    used = segmenter.device.fallback_counts()
    on_cpu = Segmenter(random_network(architecture), config=config.replaced(device="cpu"))
    difference, agreement = _compared(found, [on_cpu.segment_batch([job])[0] for job in jobs])
    assert placed is not None and warm is not None and after is not None
    return asdict(
        Found(
            planned=len(segmenter.shapes.graphs()),
            placement=placed.compilations,
            warm_up=warm.compilations - placed.compilations,
            afterwards=after.compilations - warm.compilations,
            cached=after.cache_hits - warm.cache_hits,
            fallbacks=used,
            statuses={},
            score_difference=difference,
            agreement=agreement,
        )
    )


def _patches_of_32() -> float:
    """The largest difference of a score from the CPU's, where positions of 12x12 patches are needed at 15x20."""
    from tests.xla.device import XlaDevice

    config = Config().replaced(hpu=Config().hpu.replaced(bfloat16=False))
    architecture, job = replace(SMALL, patch_size=32, position_grid=12), Job(noise(480, 640), ["cat", "grass"])
    segmenter = Segmenter(random_network(architecture), config=config, device=XlaDevice(config), most_images=1)
    on_cpu = Segmenter(random_network(architecture), config=config.replaced(device="cpu"))
    return _compared(segmenter.segment_batch([job]), on_cpu.segment_batch([job]))[0]


def _print(name: str, found: Found) -> None:
    print(
        f"\n{name}: {found.planned} graphs planned, {found.placement} compiled in placement, "
        f"{found.warm_up} in warm-up, {found.afterwards} afterwards ({found.cached} found compiled); "
        f"on the host: {found.fallbacks or 'none'}; "
        f"{found.statuses or ''} scores differ from the CPU's by up to {found.score_difference:.1e}, "
        f"masks agree on {found.agreement:.2%}"
    )


@pytest.mark.parametrize(("bfloat16", "difference", "agreement"), [(False, 1e-4, 0.9999), (True, 0.3, 0.95)])
def test_requests_compile_nothing(bfloat16: bool, difference: float, agreement: float) -> None:
    found = Found(**run(_small, REQUESTS, bfloat16, True, PJRT_DEVICE="CPU"))
    _print(f"{REQUESTS} requests, small network, {'bfloat16' if bfloat16 else 'float32'}", found)
    assert found.statuses == {200: REQUESTS}
    assert (found.warm_up, found.afterwards) == (found.planned, 0)
    assert found.placement <= 1 and found.cached > REQUESTS
    assert found.fallbacks == {}
    assert found.score_difference < difference and found.agreement > agreement


def test_without_the_cut_after_placement_the_first_request_compiles() -> None:
    found = Found(**run(_small, 20, False, False, PJRT_DEVICE="CPU"))
    _print("20 requests without the cut after placement", found)
    assert (found.placement, found.warm_up, found.afterwards) == (0, found.planned, 1)


def test_positions_are_not_resized_by_xla_which_does_it_wrong() -> None:
    difference = run(_patches_of_32, PJRT_DEVICE="CPU")
    print(f"\n12x12 positions at 15x20: scores differ from the CPU's by up to {difference:.1e}")
    assert difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "arch_option"), [("clip_vitb32_384", 0), ("clip_resnet101", 2)])
def test_published_networks_in_the_default_configuration(preset: str, arch_option: int) -> None:
    found = Found(**run(_published, preset, arch_option, PJRT_DEVICE="CPU"))
    _print(f"{preset}, arch_option {arch_option}, default configuration", found)
    assert (found.planned, found.warm_up, found.afterwards) == (18, 18, 0)
    assert found.placement <= 1 and found.fallbacks == {}
    assert found.score_difference < 1e-3 and found.agreement > 0.999
