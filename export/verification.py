"""The check of an archive: what a worker computes with it against what the checkpoint gives."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lseg_serve.export.errors import ExportError, ToleranceError, UnfitError
from lseg_serve.model import LSeg
from lseg_serve.segmenter import unpack

logger = logging.getLogger(__name__)

# Largest difference of a logit that passes. Logits lie within +-14.3 (1/0.07). Folding moves them by rounding alone;
# bfloat16 keeps 8 bits of each number, and random weights, whose scores lie close together, show its worst.
# int8 is judged by the same measure.
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.5, "int8": 0.5}
# What `auto` asks for besides: the least share of pixels with the checkpoint's label, and how much faster.
_LEAST_AGREEMENT = 0.99
_LEAST_GAIN = 1.2
_LABELS = 16
_TIMED_RUNS = 3


@dataclass(frozen=True)
class Probe:
    """A test image, some labels, and the checkpoint's own logits for them."""

    pixels: Tensor  # [1, 3, H, W]
    labels: tuple[str, ...]
    logits: Tensor  # [1, K, H, W]
    seconds: float  # that the checkpoint takes for the image's features


@dataclass(frozen=True)
class Difference:
    """How far an archive is from its checkpoint."""

    largest: float  # of any logit
    agreement: float  # share of pixels with the same label
    seconds: float  # that the archive takes for the features of the test image
    checkpoint_seconds: float  # and the checkpoint


def make_probe(net: LSeg, labels: tuple[str, ...], pixels: Tensor) -> Probe:
    """The logits of `net`, exactly as the checkpoint has it, for `pixels` [1, 3, H, W] in -1..1."""
    chosen = labels[:_LABELS]
    return Probe(pixels, chosen, net.logits(pixels, chosen), _seconds(net, pixels))


@torch.no_grad()
def _seconds(net: LSeg, pixels: Tensor) -> float:
    """The fastest of a few runs over `pixels`, by a network that has run already."""
    taken = []
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        net.image_features(pixels)
        taken.append(time.perf_counter() - start)
    return min(taken)


def check_fitness(net: LSeg, probe: Probe, precision: str) -> float:
    """Whether `net`, the checkpoint's in another precision, is worth it, before anything is written.

    Returns:
        The seconds that it takes for the features of the probe's image.

    Raises:
        UnfitError: too few pixels keep the checkpoint's label, or it is hardly faster on this machine.
    """
    difference = _difference(net.logits(probe.pixels, probe.labels), _seconds(net, probe.pixels), probe)
    gain = difference.checkpoint_seconds / difference.seconds
    logger.info(
        "%s here: %.2f times as fast as the checkpoint, logits within %.1e, %.2f%% of labels the same",
        *(precision, gain, difference.largest, 100 * difference.agreement),
    )
    if difference.largest > TOLERANCES[precision] or difference.agreement < _LEAST_AGREEMENT:
        raise UnfitError(f"accepted: logits within {TOLERANCES[precision]}, {_LEAST_AGREEMENT:.0%} of labels the same")
    if gain < _LEAST_GAIN:
        raise UnfitError(f"accepted: {_LEAST_GAIN} times as fast")
    return difference.seconds


def _difference(logits: Tensor, seconds: float, probe: Probe) -> Difference:
    agreement = float((logits.argmax(dim=1) == probe.logits.argmax(dim=1)).float().mean())
    return Difference(float((logits - probe.logits).abs().max()), agreement, seconds, probe.seconds)


def verify(archive: Path, probe: Probe, precision: str, scratch: Path) -> Difference:
    """Unpack `archive` below `scratch`, let a fresh process load it as a worker would, and compare its logits.

    Raises:
        ToleranceError: a logit differs by more than the tolerance of `precision`.
        ExportError: it does not load.
    """
    archive, scratch = archive.resolve(), scratch.resolve()  # the worker runs in another directory
    with tempfile.TemporaryDirectory(prefix="verify-", dir=scratch) as temporary:
        folder = archive if archive.is_dir() else unpack(archive, Path(temporary) / "archive")
        outputs = _outputs_of_worker(folder, probe, Path(temporary))
    difference = _difference(outputs["logits"], float(outputs["seconds"]), probe)
    if not difference.largest <= TOLERANCES[precision]:
        raise ToleranceError(
            f"the archive does not compute what the checkpoint does: logits differ by up to {difference.largest:.3g}; "
            f"accepted for {precision}: {TOLERANCES[precision]}"
        )
    return difference


def _outputs_of_worker(folder: Path, probe: Probe, scratch: Path) -> dict[str, Tensor]:
    inputs, outputs = scratch / "input.safetensors", scratch / "output.safetensors"
    save_file({"pixels": probe.pixels, "label_count": torch.tensor(len(probe.labels))}, inputs)
    script = Path(__file__).parent / "worker_check.py"
    # As TorchServe starts a worker: the archive's folder is the working directory and comes first on the path.
    run = subprocess.run(
        [sys.executable, "-P", str(script), str(folder), str(inputs), str(outputs)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        reason = (run.stderr.strip().splitlines() or [f"exit status {run.returncode}"])[-1]
        raise ExportError(f"the archive does not load as a worker would load it: {reason}")
    return load_file(outputs)
