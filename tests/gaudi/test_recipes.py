"""The folder of compiled graphs: found again by the same software and settings only. The driver would mix them up."""

from __future__ import annotations

from pathlib import Path

import pytest

from lseg_serve.segmenter.devices.hpu.host import Host
from lseg_serve.segmenter.devices.hpu.recipes import folder_name
from tests.gaudi.process import run

LAZY = {"PT_HPU_LAZY_MODE": "1", "PT_HPU_AUTOLOAD": "0"}


def _compilations(recipes: str) -> int:
    """How many graphs a worker compiles for its first label."""
    from lseg_serve.segmenter.config import HpuParams
    from tests.gaudi import workload

    segmenter = workload.segmenter(hpu=HpuParams(bfloat16=False, recipe_cache=recipes))
    segmenter.encode_labels(["cat"])
    counts = segmenter.device.graph_counts()
    assert counts is not None
    return counts.compilations


@pytest.mark.parametrize("other", [{"SIMULATED_GAUDI_SOFTWARE": "1.19"}, {"PT_HPU_FORCE_TANH_FOR_GELU": "1"}])
def test_recipes_of_other_software_or_kernels_are_not_taken(other: dict[str, str], tmp_path: Path) -> None:
    settings, recipes = {**LAZY, "SIMULATED_GAUDI_FOLDER": str(tmp_path / "cards")}, str(tmp_path / "recipes")
    first = run(_compilations, recipes, **settings)
    assert first > 0
    assert run(_compilations, recipes, **settings) == 0, "the same again"
    assert run(_compilations, recipes, **settings, **other) == first
    assert run(_compilations, recipes, **settings, **other) == 0, "kept beside the first"
    assert len(list((tmp_path / "recipes").iterdir())) == 2


def test_a_folder_is_named_by_what_its_recipes_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = tmp_path / "sys/class/accel/accel0/device"
    card.mkdir(parents=True)
    (card / "device_type").write_text("GAUDI3\n")
    (tmp_path / "dev/accel/accel0").mkdir(parents=True)
    host = Host(tmp_path)
    name = folder_name("1.23.0.695", host)
    assert name.startswith("1.23.0.695_torch-") and "_GAUDI3_" in name
    assert "," not in name and "/" not in name
    assert "_unknown_" in folder_name("1.23.0.695", Host(tmp_path / "elsewhere"))
    monkeypatch.setenv("PT_HPU_AUTOCAST_FP32_OPS_LIST", str(tmp_path))
    monkeypatch.setenv("PT_HPU_PLACE_ON_CPU", "none")
    assert folder_name("1.23.0.695", host) == name
    monkeypatch.setenv("PT_HPU_ENABLE_DIV_PRECISE", "1")
    assert folder_name("1.23.0.695", host) != name
