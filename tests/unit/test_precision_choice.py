"""Which precision an export without `--precision` takes: the target's first that is accurate enough, on any clock."""

from __future__ import annotations

import itertools
import json
import operator
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lseg_serve.demo.weights_file import WEIGHTS
from lseg_serve.export.errors import ExportError
from lseg_serve.export.exporter import Summary, export
from lseg_serve.export.plan import Options
from tests.conftest import PROJECT
from tests.support.int8 import needs_int8
from tests.support.networks import SMALL, fragile_network, save_checkpoint

pytestmark = pytest.mark.slow  # whole exports, a minute together

AMX = "torch.cpu._is_amx_tile_supported"
BFLOAT16 = "torch.cpu._is_avx512_bf16_supported"
VNNI = "torch.cpu._is_vnni_supported"
BUSY = "while True: pass"


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """The bundled model, whose weights are trained: that of a random network would tell nothing of accuracy."""
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(PROJECT / "demo" / "pictures" / "village.jpg", images)  # one, for calibration takes its time
    return Options(WEIGHTS, tmp_path / "store", labels=str(PROJECT / "demo" / "labels.txt"), calibration=images)


@pytest.fixture
def fragile(options: Options, tmp_path: Path) -> Options:
    """A model that is right in float32 only."""
    return replace(options, checkpoint=save_checkpoint(fragile_network(SMALL), tmp_path / "fragile.ckpt"))


def _precision(summary: Summary) -> str:
    """What the archive itself says."""
    with zipfile.ZipFile(summary.archive) as archive:
        return str(json.loads(archive.read("lseg.json"))["precision"])


@contextmanager
def _load(processes: int) -> Iterator[None]:
    """Keep the processors busy meanwhile."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_a_busy_machine_writes_the_same_bytes(options: Options) -> None:
    first = export(options).archive.read_bytes()
    with _load(2):
        assert export(options).archive.read_bytes() == first


def _clock(growth: float) -> Callable[[], float]:
    """A clock on which what is measured later seems to take `growth` times as long as what was measured before."""
    steps = itertools.accumulate(itertools.repeat(growth), operator.mul)
    readings = itertools.accumulate(steps)
    return lambda: next(readings)


def test_what_the_clock_says_changes_nothing(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for growth in (1.3, 0.8):
        monkeypatch.setattr("time.perf_counter", _clock(growth))
        written.append(export(options).archive.read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("cpu-amx", "bfloat16"),
        pytest.param("cpu-vnni", "int8", marks=needs_int8),
        pytest.param("cpu-avx512-bf16", "int8", marks=needs_int8),
        ("cpu", "float32"),
        ("cuda", "bfloat16"),
        ("hpu", "float32"),
    ],
)
def test_the_first_choice_of_the_target_is_taken(target: str, expected: str, options: Options) -> None:
    summary = export(replace(options, target=target))
    assert _precision(summary) == expected
    assert summary.difference.agreement >= 0.99


@pytest.mark.parametrize("target", ["cuda", "cpu-amx"])
def test_nothing_is_taken_that_is_not_accurate_enough(
    target: str, fragile: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(VNNI, lambda: True)  # int8, too, is tried on any machine, and refused whatever it computes
    with caplog.at_level("INFO"):
        summary = export(replace(fragile, target=target))
    assert _precision(summary) == "float32"
    assert summary.difference.largest < 1e-3, "what was tried before left no trace"
    left = [line.split()[0] for line in caplog.messages if " is left: logits within" in line]
    assert left == (["bfloat16"] if target == "cuda" else ["bfloat16", "int8"])


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ((AMX, BFLOAT16, VNNI), "bfloat16"),
        ((AMX,), "bfloat16"),
        ((BFLOAT16, VNNI), "int8"),
        ((BFLOAT16,), "bfloat16"),
        ((), "float32"),
    ],
)
def test_without_a_target_this_machine_is_it(
    there: tuple[str, ...], expected: str, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    if VNNI in there and not _has_vnni():
        pytest.skip("int8 would be computed wrongly here")
    for feature in (AMX, BFLOAT16, VNNI):
        monkeypatch.setattr(feature, lambda feature=feature: feature in there)
    assert _precision(export(options)) == expected


def _has_vnni() -> bool:
    return not needs_int8.args[0]


@pytest.mark.parametrize(("device", "expected"), [("cuda", "bfloat16"), ("hpu", "float32")])
def test_a_device_that_the_configuration_names_is_the_target(
    device: str, expected: str, options: Options, tmp_path: Path
) -> None:
    config = tmp_path / "model-config.yaml"
    config.write_text(f"minWorkers: 1\nmaxWorkers: 1\nlseg: {{device: {device}}}\n")
    assert _precision(export(replace(options, config=config))) == expected


@pytest.mark.parametrize("choice", [{"target": "cpu-vnni"}, {"precision": "int8"}])
def test_int8_that_cannot_be_checked_here_is_refused(
    choice: dict[str, str], options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VNNI, lambda: False)
    with pytest.raises(ExportError, match="int8 cannot be checked on this machine: this processor lacks VNNI"):
        export(replace(options, **choice))  # type: ignore[arg-type]


@needs_int8
def test_the_images_of_calibration_are_named(options: Options, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        own = export(replace(options, precision="int8")).archive.read_bytes()
        shipped = export(replace(options, precision="int8", calibration=None)).archive.read_bytes()
    assert f"1 of {options.calibration}" in caplog.text
    assert "4 that ship with the project (cat.jpg, coffee.jpg, front.jpg, village.jpg)" in caplog.text
    assert own != shipped, "the images are used"
