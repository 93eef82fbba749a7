"""check-device on the CPU: a report that passes, and wrong options."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch import Tensor

from lseg_serve.segmenter.check.points import try_points
from lseg_serve.segmenter.devices import CpuDevice

CONFIG = """
minWorkers: 1
maxWorkers: 1
lseg:
  device: cpu
  max_labels: 10
  static_image_size_params: {hw_ratios: [[1, 1]], short_sizes: [64]}
  accurate: {crop_size: 64, base_size: 72, stride: 48, scales: [1.0]}
"""


def _command(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lseg_serve.segmenter", "check-device", *options]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_cpu_passes(tmp_path: Path) -> None:
    config, file = tmp_path / "model-config.yaml", tmp_path / "report.json"
    config.write_text(CONFIG)
    done = _command("--config", str(config), "--requests", "4", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(file.read_text())
    assert report["passed"] and report["device"].startswith("cpu (")
    assert report["types"]["convolution float32"] > 0
    assert all(check["passed"] for check in report["checks"])
    assert "accuracy against the CPU: passed; masks of 4 pictures agree on 100.00%" in done.stdout
    assert f"{len([check for check in report['checks'] if check['needed']])} of" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--requests", "0", "--requests is 0; accepted: 1 or more"),
        ("--model", "none.ckpt", "none.ckpt"),
        ("--config", "none.yaml", "none.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_checked_is_an_error(option: str, value: str, message: str) -> None:
    done = _command(option, value)
    assert done.returncode == 3 and message in done.stderr and "Traceback" not in done.stderr


class _Inexact(CpuDevice):
    """A device that rounds every result to bfloat16, and has no argmax of int64."""

    def to_host(self, tensor: Tensor) -> Tensor:
        return tensor.bfloat16() if tensor.is_floating_point() else tensor

    def to_device(self, tensor: Tensor) -> Tensor:
        if str(tensor.dtype) == "torch.int64" and tensor.ndim == 2:
            raise RuntimeError("no kernel for int64")
        return tensor


def test_inexact_and_missing_operators_are_named() -> None:
    found = {check.name: check for check in try_points(_Inexact())}
    assert not found["product in float32"].passed and not found["exact GELU"].passed
    assert found["argmax of int32"].passed and found["resize in bfloat16"].passed
    assert not found["argmax of int64"].passed and not found["argmax of int64"].needed
    assert found["argmax of int64"].found == "RuntimeError: no kernel for int64"
    assert all(check.passed for check in try_points(CpuDevice()))
