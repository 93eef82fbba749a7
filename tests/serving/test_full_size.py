"""A checkpoint at full size, as published ones are, from the file to the mask."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests

from lseg_serve.client import read_mask
from lseg_serve.segmenter import Config, Segmenter
from lseg_serve.segmenter.devices import CpuDevice
from tests.conftest import PROJECT
from tests.serving.conftest import running
from tests.support.memory import watch

LABELS = ["cat", "grass", "other"]


@pytest.mark.parametrize("options", [(), ("--half-clip",)], ids=["demo_e200_fp32", "demo_e200"])
def test_a_2_gb_checkpoint_is_exported_served_and_answered(
    options: tuple[str, ...],
    full_size_checkpoint: Callable[..., Path],
    tmp_path: Path,
    photo: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """ViT-L/16 with CLIP in float32 and float16; the figures printed are for the record, none is a limit."""
    checkpoint = full_size_checkpoint("clip_vitl16_384", *options)
    started = time.perf_counter()
    peak = _export(checkpoint, tmp_path / "store")
    exported = time.perf_counter()
    with running(tmp_path / "store" / "lseg.mar", tmp_path / "run", OMP_NUM_THREADS="2") as server:
        ready = time.perf_counter()
        url = f"{server.addresses.inference_url}/predictions/lseg"
        answer = requests.post(url, files={"image": photo}, data={"labels": ",".join(LABELS)}, timeout=300)
        answered = time.perf_counter()
        (worker,) = server.workers("lseg")
        memory = psutil.Process(worker["pid"]).memory_info().rss
    assert answer.status_code == 200, answer.text
    mask = read_mask(answer.content)
    assert mask.indices.shape == (300, 451)
    assert [entry.name for entry in mask.legend] == LABELS
    # The same from the checkpoint itself, with none of the export's changes; rounding may turn a tie.
    direct = Segmenter.load(checkpoint, Config(device="cpu"), CpuDevice()).segment(photo, LABELS)
    assert np.mean(mask.indices == direct.mask) > 0.999
    size = checkpoint.stat().st_size
    checkpoint.unlink()
    with capsys.disabled():
        print(
            f"\ncheckpoint {size / 1e9:.2f} GB: exported in {exported - started:.0f} s "
            f"with a peak of {peak / 1e9:.2f} GB, ready after {ready - exported:.0f} s, "
            f"answered in {answered - ready:.1f} s "
            f"({answer.headers['Server-Timing']}), worker {memory / 1e9:.2f} GB"
        )


def _export(checkpoint: Path, store: Path) -> int:
    """Export by the command line; the peak memory of the export's own process in bytes."""
    command = [sys.executable, "-m", "export", str(checkpoint), "--output", str(store)]
    command += ["--precision", "float32"]
    process = subprocess.Popen(command, cwd=PROJECT)
    peak = watch(process)
    assert process.returncode == 0
    return peak
