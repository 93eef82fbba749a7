"""Once warm, nothing that a client can ask compiles a graph, falls back to the host or waits more than once."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tests.gaudi.process import run

REQUESTS = 2000
STRICT = {"PT_HPU_LAZY_MODE": "1", "PT_HPU_AUTOLOAD": "0", "PT_HPU_PLACE_ON_CPU": "none"}


def _respond(requests: int, modes: tuple[str, ...], *, warm: bool, buckets: bool, most: int = 8) -> dict[str, Any]:
    """Respond to random requests in batches of 1 to `most`; what the card did for them."""
    from lseg_serve.handler.pipeline import respond
    from lseg_serve.handler.responses import ServerInfo
    from tests.gaudi import workload

    segmenter = workload.segmenter(None if most == 8 else most)
    from habana_frameworks.torch.simulated import compiled_graphs, counts

    if not buckets:
        _forget_buckets(segmenter)
    if warm:
        segmenter.warm_up()
    passes = _count_passes(segmenter)
    rng = np.random.default_rng(5)
    stream = workload.rows(requests, rng, workload.images(requests // 10, rng), modes)
    server = ServerInfo("lseg", "1", "hpu", 10**9)
    before, known = counts(), len(compiled_graphs())
    statuses: Counter[int] = Counter()
    while batch := list(itertools.islice(stream, int(rng.integers(1, most + 1)))):
        statuses.update(response.status for response in respond(segmenter, batch, [{}] * len(batch), server))
    done = counts().since(before)
    return {
        "statuses": dict(statuses),
        "compiles": done.compiles,
        "compiled": [str(graph) for graph in compiled_graphs()[known:]][:5],
        "fallbacks": done.fallbacks,
        "copies": done.device_to_host,
        "passes": passes.total(),
        "words": segmenter.text_cache.counts,
        "graphs": len(segmenter.shapes.graphs()) if buckets else None,
    }


def _count_passes(segmenter: Any) -> Counter[str]:
    """Counts forward batches, of images and of texts, from now on."""
    passes: Counter[str] = Counter()
    network = segmenter.network
    for name in ("_score", "_text"):
        step = getattr(network, name)

        def counted(*tensors: torch.Tensor, name: str = name, step: Any = step) -> torch.Tensor:
            passes[name] += 1
            return step(*tensors)

        setattr(network, name, counted)
    return passes


def _forget_buckets(segmenter: Any) -> None:
    """Labels, tokens, batches and features at the sizes that requests happen to have; images keep theirs."""
    every = tuple(range(1, 9))
    shapes = replace(
        segmenter.shapes, labels=None, tokens=None, pixels=None, text_batch=None, batches=every, image_batches=every
    )
    segmenter.shapes = segmenter.network.shapes = shapes


def test_2000_requests_of_every_kind_compile_nothing(tmp_path: Any) -> None:
    done = run(_respond_warm, REQUESTS, SIMULATED_GAUDI_FOLDER=str(tmp_path), **STRICT)
    print(f"{done}")
    assert done["statuses"] == {200: REQUESTS}
    assert done["compiles"] == 0, "\n".join(done["compiled"])
    assert done["fallbacks"] == {}
    assert done["copies"] == done["passes"] > 0
    assert done["words"].hits > 0 and done["words"].misses > 0


def _respond_warm(requests: int) -> dict[str, Any]:
    return _respond(requests, ("fast", "accurate"), warm=True, buckets=True)


def test_single_requests_compile_nothing_with_the_graphs_of_single_images(tmp_path: Any) -> None:
    done = run(_respond_singly, 300, SIMULATED_GAUDI_FOLDER=str(tmp_path), **STRICT)
    print(f"{done}")
    assert done["statuses"] == {200: 300}
    assert done["compiles"] == 0, "\n".join(done["compiled"])
    assert done["copies"] == done["passes"] > 0


def _respond_singly(requests: int) -> dict[str, Any]:
    return _respond(requests, ("fast", "accurate"), warm=True, buckets=True, most=1)


def test_without_buckets_requests_wait_for_compilations(tmp_path: Any) -> None:
    done = run(_respond_without_buckets, 150, SIMULATED_GAUDI_FOLDER=str(tmp_path), **STRICT)
    print(f"150 requests without buckets: {done['compiles']} compilations")
    assert done["statuses"] == {200: 150}
    assert done["compiles"] > 75


def _respond_without_buckets(requests: int) -> dict[str, Any]:
    return _respond(requests, ("fast", "accurate"), warm=False, buckets=False)
