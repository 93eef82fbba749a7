"""What a request will cost: an estimate in seconds, and its refusal where that is more than the configuration allows.

    seconds  =  pixels through the network x seconds for each  +  scores to resize x seconds for each

A score belongs to one label at one pixel. In accurate mode the scores of each scale are resized to the image's size, so
pixels, labels and scales multiply. The seconds for each are measured after warm-up, on shapes that are warm already.

It is a bound and no forecast. Most masks of fast mode take less, because scores are blended only where labels meet.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from lseg_serve.segmenter.config import MODES, AccurateParams
from lseg_serve.segmenter.engine.network import Network
from lseg_serve.segmenter.engine.shapes import Graph, ImageGraph, Shapes
from lseg_serve.segmenter.errors import RequestTooCostlyError
from lseg_serve.segmenter.masks.mask import mask_by_strips
from lseg_serve.segmenter.masks.score_maps import DenseScoreMap, ResizedScoreMap
from lseg_serve.segmenter.masks.windows import plan_scales
from lseg_serve.segmenter.preprocessing.buckets import Bucket, choose_bucket

logger = logging.getLogger(__name__)

# The map that is resized to measure with: large enough for a steady rate, small enough for 20 ms.
_PROBE_LABELS, _PROBE_SOURCE, _PROBE_SIDE = 16, 240, 640
# A processor takes any shape. A full-size network takes some seconds for this one in a single thread.
_HOST_STEP = ImageGraph(Bucket(224, 224), 1)
_PROBE_RUNS, _PROBE_SECONDS = 5, 0.5


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
            f"{work.mode} mode ({times}); accepted: up to {most:g} s (max_request_seconds in model-config.yaml), as of "
            f"{fitting}"
        )

    def check_passes(self, pixels: int, passes: int, most: float) -> None:
        """Refuse `passes` of the network over `pixels` pixels in all, if they take more than `most` seconds.

        Raises:
            RequestTooCostlyError: they do.
        """
        seconds = self.rates.network * pixels
        if seconds > most:
            raise RequestTooCostlyError(
                f"the embeddings take {passes} passes of the network, an estimated {seconds:.0f} s; accepted: up to "
                f"{most:g} s (max_request_seconds in model-config.yaml), with fewer scales, without flip, or with a "
                "smaller base_size"
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


def log_estimates(costs: CostModel, most: float) -> None:
    """Log the estimate for an ordinary request in each mode: a warning if it is above `most` seconds, unless that is 0.

    Such requests are refused.
    """
    for mode in MODES:
        seconds = costs.seconds(Work(480, 640, 20, mode))
        logger.info("640x480 pixels with 20 labels take an estimated %.1f s in %s mode", seconds, mode)
        if 0 < most < seconds:
            logger.warning("Requests in %s mode are refused: max_request_seconds is %d", mode, most)


def measure_rates(network: Network, warm: Iterable[Graph]) -> Rates | None:
    """The rates of `network`; None where none of its image steps is warm."""
    device = network.device
    step = _step_to_time(network.shapes, warm)
    if step is None:
        return None
    threads = torch.get_num_threads()
    with _one_thread():
        score, softmax = _score_rates()
        if device.torch_device.type == "cpu" and not device.compiles_each_shape:
            step = _HOST_STEP
            seconds = _pass_seconds(network, step, time.thread_time) / threads
        else:
            seconds = _pass_seconds(network, step, time.perf_counter)
    pixels = step.batch * step.bucket.height * step.bucket.width
    return Rates(seconds / pixels, score / threads, softmax / threads)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in one thread, whose own time is a steady measure while other programs are busy.

    The clock would count them as well, and so would the time of several threads, which wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _step_to_time(shapes: Shapes, warm: Iterable[Graph]) -> ImageGraph | None:
    """The warm image step to be timed: of few images, and of accurate mode's window where that is among them."""
    steps = [graph for graph in warm if isinstance(graph, ImageGraph)]
    return min(steps, key=lambda step: (step.batch, step.bucket != shapes.window), default=None)


def _pass_seconds(network: Network, step: ImageGraph, clock: Callable[[], float]) -> float:
    def run() -> None:
        network.run_blank(step)
        network.device.wait()

    return _fastest(run, clock)


def _score_rates() -> tuple[float, float]:
    """Seconds to resize a score, and to take it into a softmax."""
    scores = torch.rand(_PROBE_LABELS, _PROBE_SOURCE, _PROBE_SOURCE, generator=torch.Generator().manual_seed(0))
    resized = ResizedScoreMap(DenseScoreMap(scores), _PROBE_SIDE, _PROBE_SIDE, "corners")
    plain = _fastest(lambda: mask_by_strips(resized), time.thread_time)
    softmax = _fastest(lambda: mask_by_strips(resized, with_scores=True), time.thread_time)
    count = _PROBE_LABELS * _PROBE_SIDE**2
    return plain / count, max(0.0, softmax - plain) / count


def _fastest(step: Callable[[], object], clock: Callable[[], float]) -> float:
    """The seconds of the fastest of some runs; of fewer runs where these take long."""
    runs: list[float] = []
    while len(runs) < _PROBE_RUNS and sum(runs) < _PROBE_SECONDS:
        start = clock()
        step()
        runs.append(clock() - start)
    return min(runs)
