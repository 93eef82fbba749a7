"""All checks of a device, in the order in which they do not disturb each other: graphs are counted first."""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import psutil
import torch

from lseg_serve.segmenter.check.points import try_points
from lseg_serve.segmenter.check.report import Check, Report
from lseg_serve.segmenter.check.requests import picture_jobs, random_jobs
from lseg_serve.segmenter.check.types import types_of
from lseg_serve.segmenter.devices import Device, GraphCounts
from lseg_serve.segmenter.segmenter import Segmenter

_PACKAGES = (
    "lseg-serve", "torch", "torchvision", "timm", "numpy", "habana-torch-plugin", "habana-torch-dataloader",
    "torch_xla", "triton",
)  # fmt: skip
_VARIABLES = ("PT_", "HABANA_", "HLS_", "CUDA_", "NVIDIA_", "XLA_", "PJRT_", "OMP_", "LOG_LEVEL")
_RUNS = 5
_LABELS = 20
_LEAST_AGREEMENT = 0.995


def check_device(
    segmenter: Segmenter,
    on_cpu: Segmenter,
    requests: int,
    most_images: int = 1,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
) -> Report:
    """Try the device of `segmenter`, which is not warm yet.

    Args:
        segmenter: a network on the device.
        on_cpu: the same network on the CPU, to compare with.
        requests: how many random requests must compile nothing after warm-up.
        most_images: how many of them come together at most.
        variants: what was found with other settings, for the report.
    """
    device, network = segmenter.device, segmenter.network
    memory = {"with the weights": _used_bytes(device)}
    checks = [_warmed(segmenter)]
    memory["after warm-up"] = _used_bytes(device)
    checks += _served(segmenter, requests, most_images)
    memory["after the requests"] = _used_bytes(device)
    checks.append(_agreement(segmenter, on_cpu))
    milliseconds = _timed(segmenter)
    types, as_wanted = types_of(network)
    fallbacks = device.fallback_counts()
    checks += [as_wanted, *try_points(device)]
    return Report(
        device=device.describe(),
        versions=_versions(),
        environment=_environment(),
        checks=tuple(checks),
        types=types,
        fallbacks=fallbacks,
        milliseconds=milliseconds,
        memory_bytes=memory,
        variants=variants or {},
    )


def _used_bytes(device: Device) -> int:
    """The device's memory, or else that of this process on the host."""
    memory = device.memory()
    return int(psutil.Process().memory_info().rss) if memory is None else memory.used


def _warmed(segmenter: Segmenter) -> Check:
    before = segmenter.device.graph_counts()
    warmed = segmenter.warm_up()
    after = segmenter.device.graph_counts()
    compiled = "" if after is None else f", {_since(before, after).compilations} compiled"
    found = f"{len(warmed.warm)} shapes{compiled}, {len(warmed.cold)} left cold, {warmed.seconds:.1f} s"
    return Check("warm-up", not warmed.cold, found)


def _since(before: GraphCounts | None, after: GraphCounts) -> GraphCounts:
    start = before or GraphCounts()
    return GraphCounts(
        after.compilations - start.compilations,
        after.cache_hits - start.cache_hits,
        after.fallbacks - start.fallbacks,
    )


def _served(segmenter: Segmenter, requests: int, most_images: int) -> list[Check]:
    """Whether requests are answered, and compile nothing and leave nothing to the host."""
    before, start = segmenter.device.graph_counts(), time.perf_counter()
    stream = random_jobs(requests, segmenter.config.max_labels)
    sizes = itertools.cycle(range(1, most_images + 1))
    while batch := list(itertools.islice(stream, next(sizes))):
        segmenter.segment_batch(batch)
    seconds = time.perf_counter() - start
    checks = [Check("random requests", True, f"{requests} in {seconds:.1f} s")]
    after = segmenter.device.graph_counts()
    if after is None:
        return checks
    done = _since(before, after)
    return [
        *checks,
        Check("compilations after warm-up", done.compilations == 0, f"{done.compilations} in {requests} requests"),
        Check("operators on the host", after.fallbacks == 0, f"{after.fallbacks} calls since the start"),
    ]


def _agreement(segmenter: Segmenter, on_cpu: Segmenter) -> Check:
    """Scores and masks of pictures against the CPU's."""
    jobs = picture_jobs(segmenter.config.max_labels)
    differences, shares = [], []
    for job in jobs:
        found, expected = segmenter.segment_batch([job])[0], on_cpu.segment_batch([job])[0]
        differences.append(float((found.scores - expected.scores).abs().max()))
        shares.append(float((found.mask == expected.mask).mean()))
    share = statistics.fmean(shares)
    return Check(
        "accuracy against the CPU",
        share >= _LEAST_AGREEMENT,
        f"masks of {len(jobs)} pictures agree on {share:.2%} of the pixels, of at least {_LEAST_AGREEMENT:.1%}; scores "
        f"differ by up to {max(differences):.1e}",
    )


def _timed(segmenter: Segmenter) -> dict[str, float]:
    """The median time of each step in each shape of image, and of one batch of labels."""
    network, device = segmenter.network, segmenter.device
    names = [f"label {index}" for index in range(_LABELS)]
    text = network.encode(names)
    times = {f"text {_LABELS} labels": _median(device, lambda: network.encode(names))}
    for graph in segmenter.shapes.image_graphs():
        bucket, batch = graph.bucket, graph.batch
        pixels = [torch.zeros(3, bucket.height, bucket.width)] * batch
        times[str(graph)] = _median(device, lambda p=pixels, b=batch: network.features(p, b))  # type: ignore[misc]
        features, texts = network.features(pixels, batch), [text] * batch
        times[f"score {bucket} labels {_LABELS} batch {batch}"] = _median(
            device,
            lambda f=features, t=texts, b=bucket: network.scores_of(f, t, b.height, b.width),  # type: ignore[misc]
        )
    return times


def _median(device: Device, step: Callable[[], object]) -> float:
    times = []
    for _ in range(_RUNS):
        device.wait()
        start = time.perf_counter()
        step()
        device.wait()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def _versions() -> Mapping[str, str]:
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found | {"torch build": str(torch.__version__), "CUDA of torch": str(torch.version.cuda or "none")}


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)}
