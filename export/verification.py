"""The check of an archive: what a worker computes with it against what the checkpoint gives."""

from __future__ import annotations

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

from export.errors import ExportError, ToleranceError
from model import LSeg
from segmenter.archive import unpack

# Largest difference of a logit that passes. Logits lie within +-14.3 (1/0.07). Folding moves them by rounding alone;
# bfloat16 keeps 8 bits of each number, and random weights, whose scores lie close together, show its worst.
# int8 is judged by the same measure.
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.5, "int8": 0.5}
# What `auto` asks for besides: the least share of pixels with the checkpoint's label.
LEAST_AGREEMENT = 0.99
_LABELS = 16
_SIZE = (192, 256)  # height, width: not square, so that swapped sides show


@dataclass(frozen=True)
class Probe:
    """A test image, some labels, and the checkpoint's own logits for them."""

    pixels: Tensor  # [1, 3, H, W]
    label_count: int
    logits: Tensor  # [1, K, H, W]
    seconds: float  # that the checkpoint takes for the image's features


@dataclass(frozen=True)
class Difference:
    """How far an archive is from its checkpoint."""

    largest: float  # of any logit
    agreement: float  # share of pixels with the same label
    seconds: float  # that the archive takes for the features of the test image
    checkpoint_seconds: float  # and the checkpoint


def make_probe(net: LSeg, labels: tuple[str, ...]) -> Probe:
    """The logits of `net`, exactly as the checkpoint has it, on smooth colours with noise over them."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 6, 8, generator=generator) * 2 - 1
    smooth = torch.nn.functional.interpolate(coarse, size=_SIZE, mode="bilinear")
    pixels = (smooth + 0.1 * torch.randn(smooth.shape, generator=generator)).clamp(-1, 1)
    chosen = labels[:_LABELS]
    logits = net.logits(pixels, chosen)
    start = time.perf_counter()
    with torch.no_grad():
        net.image_features(pixels)
    return Probe(pixels, len(chosen), logits, time.perf_counter() - start)


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
    logits, seconds = outputs["logits"], float(outputs["seconds"])
    largest = float((logits - probe.logits).abs().max())
    agreement = float((logits.argmax(dim=1) == probe.logits.argmax(dim=1)).float().mean())
    if not largest <= TOLERANCES[precision]:
        raise ToleranceError(
            f"the archive does not compute what the checkpoint does: logits differ by up to {largest:.3g}; "
            f"accepted for {precision}: {TOLERANCES[precision]}"
        )
    return Difference(largest, agreement, seconds, probe.seconds)


def _outputs_of_worker(folder: Path, probe: Probe, scratch: Path) -> dict[str, Tensor]:
    inputs, outputs = scratch / "input.safetensors", scratch / "output.safetensors"
    save_file({"pixels": probe.pixels, "label_count": torch.tensor(probe.label_count)}, inputs)
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
