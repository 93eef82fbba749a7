"""check-device on the simulated card: what it passes, and what it must notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT
from tests.gaudi.process import SIMULATED, run

LAZY = {"PT_HPU_LAZY_MODE": "1", "PT_HPU_AUTOLOAD": "0"}


def _checked(requests: int, most_images: int, limits: dict[str, Any]) -> dict[str, Any]:
    """The report on the small network on the card."""
    from lseg_serve.segmenter.check import check_device
    from tests.gaudi import workload

    segmenter = workload.segmenter(most_images, hpu=workload.CONFIG.hpu.replaced(bfloat16=True, **limits))
    report = check_device(segmenter, workload.on_cpu(), requests, most_images)
    return {**report.as_dict(), "lines": list(report.lines())}


def _verdicts(report: dict[str, Any]) -> dict[str, bool]:
    return {check["name"]: check["passed"] for check in report["checks"]}


def test_a_card_that_works_is_reported_with_all_its_figures(tmp_path: Path) -> None:
    report = run(_checked, 40, 2, {}, SIMULATED_GAUDI_FOLDER=str(tmp_path), **LAZY)
    print("\n".join(report["lines"]))
    found = {check["name"]: check["found"] for check in report["checks"]}
    verdicts = _verdicts(report)
    assert found["compilations after warm-up"] == "0 in 40 requests"
    assert found["operators on the host"] == "0 calls since the start"
    assert found["types of the products"] == "products in bfloat16, softmax, norms and resizes in float32"
    assert report["types"]["bmm bfloat16"] == 2 * 4 + 4 and report["types"]["_softmax float32"] == 4
    # Masks of random weights nearly tie, so bfloat16 may change more of them than it may of a real model's.
    assert all(passed for name, passed in verdicts.items() if name != "accuracy against the CPU"), verdicts
    assert report["device"].startswith("hpu (GAUDI2, module ") and report["device"].endswith(", lazy, bfloat16)")
    assert report["environment"]["PT_HPU_LAZY_MODE"] == "1" and report["versions"]["torch"]
    assert report["milliseconds"]["image 64x64 batch 1"] > 0
    assert report["memory_bytes"]["after the requests"] > 0


def test_what_does_not_work_fails_the_report(tmp_path: Path) -> None:
    settings = {"SIMULATED_GAUDI_FOLDER": str(tmp_path), "SIMULATED_GAUDI_FALLBACK_OPS": "index_select,argmax:int64"}
    report = run(_checked, 20, 1, {"warm_up_seconds": 0}, **settings, **LAZY)
    verdicts = _verdicts(report)
    assert not report["passed"]
    failed = {name for name, passed in verdicts.items() if not passed} - {"accuracy against the CPU"}
    # What is not warm is compiled by the requests. The last is not used in serving.
    assert failed == {
        "warm-up", "compilations after warm-up", "operators on the host", "index_select", "argmax of int64",
    }  # fmt: skip
    assert report["fallbacks"]["aten::index_select"] > 0
    assert "  argmax of int64: failed, but not used; runs on the host" in report["lines"]


def test_the_command_tries_other_settings_and_writes_a_report(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PT_HPU")}
    path = os.pathsep.join([str(SIMULATED), str(PROJECT / "src")])
    environment = {**clean, "PYTHONPATH": path, "SIMULATED_GAUDI_FOLDER": str(tmp_path), "HOME": str(tmp_path)}
    config = tmp_path / "model-config.yaml"
    config.write_text(
        "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 1\nlseg:\n  device: hpu\n  hpu_mode: lazy\n  max_labels: 20\n"
        "  static_image_size_params: {hw_ratios: [[1, 1]], short_sizes: [64]}\n"
        "  accurate: {crop_size: 64, base_size: 72, stride: 48, scales: [1.0]}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "lseg_serve.segmenter", "check-device", "--config", str(config), "--requests", "5",
         "--variants", "attention-fused,float32", "--json", str(tmp_path / "report.json")],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    report = json.loads((tmp_path / "report.json").read_text())
    fused = report["variants"]["attention-fused"]
    assert "hpu.attention is 'fused', but this software has no FusedSDPA" in fused["error"]
    assert report["variants"]["float32"]["failed"] == []
    assert report["variants"]["float32"]["compilations after warm-up"] == "0 in 10 requests"
    assert (done.returncode == 0) == report["passed"], done.stdout
    assert report["passed"], done.stdout
    assert "with float32:" in done.stdout and done.stdout.endswith("checks passed\n")
