"""Which precision an export without `--precision` takes: the fastest here of those that are accurate enough."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from lseg_serve.demo.weights_file import WEIGHTS
from lseg_serve.export.exporter import Options, Summary, export
from lseg_serve.model import LSeg
from tests.conftest import PROJECT
from tests.support.int8 import needs_int8

BFLOAT16 = "torch.cpu._is_avx512_bf16_supported"


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """The bundled model, whose weights are trained: that of a random network would tell nothing of accuracy."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copy(PROJECT / "demo" / "pictures" / "village.jpg", pictures)
    return Options(WEIGHTS, tmp_path / "store", labels=str(PROJECT / "demo" / "labels.txt"), calibration=pictures)


def _precision(summary: Summary) -> str:
    """What the archive itself says."""
    with zipfile.ZipFile(summary.target) as archive:
        return str(json.loads(archive.read("lseg.json"))["precision"])


@needs_int8
@pytest.mark.parametrize("fastest", ["int8", "bfloat16"])
def test_the_fastest_of_those_that_fit_is_taken(
    fastest: str, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are measured; the clock is set so that one wins, whatever machine this is."""
    monkeypatch.setattr("lseg_serve.export.verification._LEAST_GAIN", 0)
    monkeypatch.setattr(BFLOAT16, lambda: True)

    def seconds(net: LSeg, pixels: Tensor) -> float:
        precision = "int8" if net.architecture.int8 else str(net.head.weight.dtype).removeprefix("torch.")
        return {"float32": 3.0, fastest: 1.0}.get(precision, 2.0)

    monkeypatch.setattr("lseg_serve.export.verification._seconds", seconds)
    summary = export(options)
    assert _precision(summary) == fastest
    assert summary.difference.agreement > 0.99


def test_nothing_is_taken_that_is_not_faster(
    options: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lseg_serve.export.verification._LEAST_GAIN", 1e9)
    monkeypatch.setattr(BFLOAT16, lambda: True)
    with caplog.at_level("INFO"):
        assert _precision(export(options)) == "float32"
    assert "bfloat16 is left: accepted: 1000000000.0 times as fast" in caplog.text


def test_nothing_is_taken_that_is_not_accurate_enough(
    options: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lseg_serve.export.verification._LEAST_GAIN", 0)
    monkeypatch.setattr("lseg_serve.export.verification._LEAST_AGREEMENT", 1.01)
    monkeypatch.setattr(BFLOAT16, lambda: True)
    with caplog.at_level("INFO"):
        summary = export(options)
    assert _precision(summary) == "float32"
    assert summary.difference.largest < 1e-3, "what was tried before left no trace"
    assert "bfloat16 is left" in caplog.text


def test_a_processor_without_either_is_given_float32_at_once(
    options: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("torch.cpu._is_vnni_supported", lambda: False)
    monkeypatch.setattr(BFLOAT16, lambda: False)
    with caplog.at_level("INFO"):
        assert _precision(export(options)) == "float32"
    assert "is left" not in caplog.text


@pytest.mark.parametrize(("device", "expected"), [("cuda", "bfloat16"), ("hpu", "float32")])
def test_a_device_that_is_named_decides(device: str, expected: str, options: Options, tmp_path: Path) -> None:
    config = tmp_path / "model-config.yaml"
    config.write_text(f"minWorkers: 1\nmaxWorkers: 1\nlseg: {{device: {device}}}\n")
    assert _precision(export(replace(options, config=config))) == expected
