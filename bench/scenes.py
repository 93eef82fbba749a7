"""What each precision costs in accuracy where the weights mean something: the bundled model on its drawn scenes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from lseg_serve.bench.rows import Row
from lseg_serve.bench.setting import PROJECT
from lseg_serve.demo.measure import Confusion
from lseg_serve.demo.trials import NAMES, test_scenes
from lseg_serve.demo.weights_file import WEIGHTS
from lseg_serve.segmenter import Segmenter

CONFIG = PROJECT / "demo" / "model-config.yaml"


def measure(precisions: tuple[str, ...], scenes: int, weights: Path = WEIGHTS) -> list[Row]:
    """MIoU of each precision in percent, the share of pixels with float32's label, and the largest difference."""
    with tempfile.TemporaryDirectory(prefix="lseg-bench-") as folder:
        segmenters = {name: Segmenter.load(exported(name, Path(folder), weights)) for name in precisions}
        confusions = {precision: Confusion(len(NAMES)) for precision in precisions}
        agreements: dict[str, list[float]] = {precision: [] for precision in precisions}
        differences: dict[str, float] = dict.fromkeys(precisions, 0.0)
        for _, scene in test_scenes(scenes):
            results = {name: segmenter.segment(scene.image, NAMES) for name, segmenter in segmenters.items()}
            exact = results["float32"]
            for name, result in results.items():
                confusions[name].add(scene.classes, result.mask)
                agreements[name].append(float(np.mean(result.mask == exact.mask)))
                differences[name] = max(differences[name], float((result.scores - exact.scores).abs().max()))
    return [
        Row(
            scenario="scenes",
            path=precision,
            where="process",
            labels=len(NAMES),
            image=f"{scenes} scenes",
            runs=1,
            max_difference=differences[precision],
            agreement=float(np.mean(agreements[precision])),
            miou=100 * confusions[precision].mean_iou(),
        )
        for precision in precisions
    ]


def exported(precision: str, folder: Path, weights: Path = WEIGHTS, config: Path = CONFIG) -> Path:
    """The archive of the bundled model in `precision`, written to `folder`."""
    command = [sys.executable, "-m", "export", str(weights), "--output", str(folder), "--name", f"scenes-{precision}"]
    command += ["--precision", precision, "--config", str(config)]
    command += ["--labels", str(PROJECT / "demo" / "labels.txt"), "--archive-format", "no-archive"]
    subprocess.run(command, cwd=PROJECT, check=True)
    return folder / f"scenes-{precision}"
