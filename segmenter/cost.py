"""What a request will cost: an estimate in seconds, and its refusal where that is more than the configuration allows.

    seconds  =  pixels through the network x seconds for each  +  scores to resize x seconds for each

A score belongs to one label at one pixel. In accurate mode the scores of each scale are resized to the image's size, so
pixels, labels and scales multiply. The seconds for each are measured after warm-up, on shapes that are warm already.

It is a bound and no forecast. Most masks of fast mode take less, because scores are blended only where labels meet.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch

from lseg_serve.segmenter.config import AccurateParams
from lseg_serve.segmenter.engine.network import Network
from lseg_serve.segmenter.engine.shapes import Graph, ImageGraph, Shapes
from lseg_serve.segmenter.errors import RequestTooCostlyError
from lseg_serve.segmenter.masks.mask import mask_by_strips
from lseg_serve.segmenter.masks.score_maps import DenseScoreMap, ResizedScoreMap
from lseg_serve.segmenter.masks.windows import plan_scales
from lseg_serve.segmenter.preprocessing.buckets import choose_bucket

# The map that is resized to measure with: large enough for a steady rate, small enough for 20 ms.
_PROBE_LABELS, _PROBE_SOURCE, _PROBE_SIDE = 16, 240, 640
_PROBE_RUNS = 3  # of which the fastest counts


@dataclass(frozen=True)
class Rates:
    """How fast this machine is, in seconds."""

    network: float  # for each pixel that goes through the network
    score: float  # to resize one score and to compare it with those of the other labels
    softmax: float  # to take one score into a softmax


@dataclass(frozen=True)
class Work:
    """What a request asks for, as far as it costs."""

    height: int
    width: int
    labels: int
    mode: str
    softmax: bool = False  # for a threshold or mean scores


@dataclass(frozen=True)
class CostModel:
    """Estimates for one network on one device."""

    rates: Rates
    shapes: Shapes
    accurate: AccurateParams

    def passes(self, work: Work) -> int:
        """How many images or windows go through the network."""
        if work.mode == "fast":
            return 1
        plans = plan_scales(work.height, work.width, self.accurate)
        return self.accurate.passes * sum(len(plan.windows) for plan in plans)

    def seconds(self, work: Work) -> float:
        """The estimate for `work`. For one shape of image it grows linearly with its pixels and with its labels."""
        return self._seconds(work, work.height * work.width)

    def _seconds(self, work: Work, pixels: int) -> float:
        """As `seconds`, for an image of `pixels` pixels and the shape of `work`."""
        bucket = self.shapes.window
        if work.mode == "fast":
            bucket = choose_bucket(self.shapes.buckets, work.height, work.width)
        seen = self.passes(work) * bucket.height * bucket.width
        scales = 1 if work.mode == "fast" else len(self.accurate.scales)
        resized = self.rates.score * (seen + scales * pixels)
        softmax = self.rates.softmax * pixels if work.softmax else 0
        return self.rates.network * seen + work.labels * (resized + softmax)

    def check(self, work: Work, most: float) -> None:
        """Refuse `work` if its estimate is above `most` seconds.

        Raises:
            RequestTooCostlyError: it is; the message has the numbers, and what would be accepted.
        """
        seconds, passes = self.seconds(work), self.passes(work)
        if seconds <= most:
            return
        times = "1 pass" if passes == 1 else f"{passes} passes"
        fitting = ", or ".join(self._fitting(work, most)) or "less than the network alone takes"
        raise RequestTooCostlyError(
            f"{work.width}x{work.height} pixels with {work.labels} labels take an estimated {seconds:.0f} s in "
            f"{work.mode} mode ({times}); accepted: up to {most:.0f} s (max_request_seconds in model-config.yaml): {fitting}"
        )

    def _fitting(self, work: Work, most: float) -> list[str]:
        """What would be accepted instead of `work`, in words; each alone is enough."""
        without_labels, without_pixels = self.seconds(replace(work, labels=0)), self._seconds(work, pixels=0)
        each_label = self.seconds(replace(work, labels=1)) - without_labels
        each_pixel = self._seconds(work, pixels=1) - without_pixels
        labels = math.floor((most - without_labels) / each_label)
        megapixels = math.floor((most - without_pixels) / each_pixel / 1e5) / 10
        fitting = [f"up to {labels} labels"] * (labels > 0)
        fitting += [f"an image of this shape of up to {megapixels} megapixels"] * (megapixels > 0)
        if work.mode != "fast" and self.seconds(replace(work, mode="fast")) <= most:
            fitting.append("mode fast")
        return fitting


def measure_rates(network: Network, warm: Iterable[Graph]) -> Rates | None:
    """The rates of `network`; None where none of its image steps is warm.

    On a processor its own time counts and not the clock's, which other programs make longer. Threads that wait for each
    other use that time, too, so scores are measured in one thread.
    """
    step = _step_to_time(network.shapes, warm)
    if step is None:
        return None
    clock, processors = time.perf_counter, 1
    if network.device.torch_device.type == "cpu":
        clock, processors = time.process_time, torch.get_num_threads()
    start = clock()
    network.run_blank(step)
    network.device.wait()
    pixels = step.batch * step.bucket.height * step.bucket.width
    score, softmax = _score_rates()
    return Rates((clock() - start) / processors / pixels, score, softmax)


def _score_rates() -> tuple[float, float]:
    """Seconds to resize a score, and to take it into a softmax: of one thread, shared among all threads."""
    scores = torch.rand(_PROBE_LABELS, _PROBE_SOURCE, _PROBE_SOURCE, generator=torch.Generator().manual_seed(0))
    resized = ResizedScoreMap(DenseScoreMap(scores), _PROBE_SIDE, _PROBE_SIDE, "corners")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain = min(_seconds(lambda: mask_by_strips(resized)) for _ in range(_PROBE_RUNS))
        softmax = min(_seconds(lambda: mask_by_strips(resized, with_scores=True)) for _ in range(_PROBE_RUNS))
    finally:
        torch.set_num_threads(threads)
    count = threads * _PROBE_LABELS * _PROBE_SIDE**2
    return plain / count, max(0.0, softmax - plain) / count


def _step_to_time(shapes: Shapes, warm: Iterable[Graph]) -> ImageGraph | None:
    """The warm image step to be timed: of few images, and of accurate mode's window where that is among them."""
    steps = [graph for graph in warm if isinstance(graph, ImageGraph)]
    return min(steps, key=lambda step: (step.batch, step.bucket != shapes.window), default=None)


def _seconds(step: Callable[[], object]) -> float:
    """The seconds of this thread."""
    start = time.thread_time()
    step()
    return time.thread_time() - start
