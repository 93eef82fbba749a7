"""How the bridge is loaded: with the settings of the mode, or not at all; and what is said where it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lseg_serve.segmenter.config import HpuMode
from lseg_serve.segmenter.devices.hpu import bridge
from tests.conftest import PROJECT
from tests.gaudi.process import SIMULATED, run

MODES: tuple[HpuMode, ...] = ("lazy", "graphs", "eager")


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ("2.9.0+hpu_1.23.1-25.git8598e6d", "lazy"),
        ("2.6.0+hpu.git99dbd97", "lazy"),
        ("2.2.0a0+git8964477", "lazy"),
        ("2.9.0+cpu", "eager"),
        ("2.9.0+cu128", "eager"),
        ("2.9.0", "eager"),
    ],
)
def test_auto_is_lazy_with_intels_own_torch(version: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    assert bridge.mode_of("auto") == mode
    assert [bridge.mode_of(one) for one in MODES] == list(MODES)


def _choose(changes: dict[str, object], import_before: bool = False) -> str:
    if import_before:  # as where torch has loaded the bridge by itself
        import habana_frameworks.torch.core  # noqa: F401

    from lseg_serve.segmenter.devices import choose_device
    from tests.gaudi.workload import CONFIG

    return choose_device(CONFIG.replaced(**changes)).describe()


def test_the_installed_torch_decides_the_mode(tmp_path: Path) -> None:
    environment = {"PT_HPU_AUTOLOAD": "0", "SIMULATED_GAUDI_FOLDER": str(tmp_path)}
    assert run(_choose, {"hpu_mode": "auto"}, **environment) == "hpu (GAUDI2, module unknown, eager, float32)"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("loaded", ["0", "1"])
def test_a_bridge_that_was_loaded_with_other_settings_is_refused(mode: HpuMode, loaded: str, tmp_path: Path) -> None:
    environment = {"PT_HPU_LAZY_MODE": loaded, "SIMULATED_GAUDI_FOLDER": str(tmp_path)}
    name = "lazy" if loaded == "1" else "eager"
    with pytest.raises(AssertionError, match=f"hpu_mode is '{mode}', but .* was imported before in {name}") as refused:
        run(_choose, {"hpu_mode": mode}, True, **environment)
    assert "set PT_HPU_AUTOLOAD=0 in the environment that the program starts in" in str(refused.value)
    for setting, value in bridge.settings(mode).items():
        assert f" {setting}={value}" in str(refused.value)


@pytest.mark.parametrize("mode", MODES)
def test_a_bridge_that_was_loaded_with_the_settings_is_taken(mode: HpuMode, tmp_path: Path) -> None:
    environment = {**bridge.settings(mode), "SIMULATED_GAUDI_FOLDER": str(tmp_path)}
    assert run(_choose, {"hpu_mode": mode}, True, **environment) == f"hpu (GAUDI2, module unknown, {mode}, float32)"


def _bare(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python where the simulated bridge is installed and nobody has set anything for it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PT_HPU")}
    path = os.pathsep.join([str(SIMULATED), str(PROJECT / "src"), str(PROJECT)])
    environment = {**clean, "PYTHONPATH": path, "SIMULATED_GAUDI_FOLDER": str(folder), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=PROJECT, capture_output=True, text=True, check=True
    )


PROGRAM = """
from lseg_serve.segmenter import Config, choose_device
import torch
device = choose_device(Config(device="hpu", hpu_mode="eager"))
with device.reduced_precision():
    x = torch.ones(2, 8).to("hpu")
    print((x @ x.T).dtype, torch.nn.functional.layer_norm(x, (8,)).dtype, x.softmax(-1).dtype)
"""


def test_a_program_that_imports_this_package_first_gets_its_settings(tmp_path: Path) -> None:
    done = _bare("-c", PROGRAM, folder=tmp_path)
    assert done.stdout.split() == ["torch.bfloat16", "torch.float32", "torch.float32"]


def test_the_command_line_does_not_load_the_bridge(tmp_path: Path) -> None:
    done = _bare("-X", "importtime", "-m", "segmenter", "buckets", folder=tmp_path)
    assert "graphs, of at most" in done.stdout
    assert "lseg_serve.segmenter.devices.hpu.bridge" in done.stderr
    assert "habana_frameworks.torch" not in done.stderr


@pytest.mark.parametrize("error", ["OSError", "AttributeError", "ImportError", "AssertionError"])
def test_a_bridge_that_is_half_installed_is_an_error_or_by_configuration_the_cpu(error: str, tmp_path: Path) -> None:
    environment = {
        "PT_HPU_LAZY_MODE": "1",
        "PT_HPU_AUTOLOAD": "0",
        "SIMULATED_GAUDI_FOLDER": str(tmp_path),
        "SIMULATED_GAUDI_IMPORT_ERROR": error,
    }
    with pytest.raises(AssertionError, match=rf"device is 'hpu', but .* cannot be imported \({error}: libSynapse"):
        run(_choose, {}, **environment)
    assert run(_choose, {"fall_back": True}, **environment).startswith("cpu (no hpu) (")
    with pytest.raises(AssertionError, match="cannot be imported"):  # it is there, so it is not passed over
        run(_choose, {"device": "auto"}, **environment)
