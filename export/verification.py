"""The check of an archive: a fresh process loads it as a worker would, and its logits are compared."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lseg_serve.export.comparison import TOLERANCES, Difference, Reference
from lseg_serve.export.errors import ExportError, ToleranceError
from lseg_serve.segmenter import unpack

# Runs the script named first. With `-c` the working directory, here the archive's folder, comes first on the path; a
# script that is started by its name would put its own folder there, and with it this package's modules.
_RUN_SCRIPT = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


def verify(archive: Path, reference: Reference, precision: str, scratch: Path) -> Difference:
    """Unpack `archive` below `scratch`, let a fresh process load it as a worker would, and compare its logits.

    Raises:
        ToleranceError: a logit differs by more than the tolerance of `precision`.
        ExportError: it does not load.
    """
    archive, scratch = archive.resolve(), scratch.resolve()  # the worker runs in another directory
    with tempfile.TemporaryDirectory(prefix="verify-", dir=scratch) as temporary:
        folder = archive if archive.is_dir() else unpack(archive, Path(temporary) / "archive")
        outputs = _outputs_of_worker(folder, reference, Path(temporary))
    difference = Difference.between(outputs["logits"], float(outputs["seconds"]), reference)
    if not difference.largest <= TOLERANCES[precision]:  # not >, which NaN would pass
        raise ToleranceError(
            f"the archive does not compute what the checkpoint does: logits differ by up to {difference.largest:.3g}; "
            f"accepted for {precision}: {TOLERANCES[precision]}"
        )
    return difference


def _outputs_of_worker(folder: Path, reference: Reference, scratch: Path) -> dict[str, Tensor]:
    inputs, outputs = scratch / "input.safetensors", scratch / "output.safetensors"
    save_file({"pixels": reference.pixels, "label_count": torch.tensor(len(reference.labels))}, inputs)
    script = Path(__file__).resolve().parent / "worker_check.py"
    # As TorchServe starts a worker: the archive's folder is the working directory and comes first on the path.
    run = subprocess.run(
        [sys.executable, "-c", _RUN_SCRIPT, str(script), str(folder), str(inputs), str(outputs)],
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
