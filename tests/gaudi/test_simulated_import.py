"""What the simulated Gaudi decides when it is imported, and what it says when the environment changes afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gaudi.process import SIMULATED, child, run, simulated


def is_lazy() -> bool:
    import habana_frameworks.torch.core  # noqa: F401
    from habana_frameworks.torch.utils import internal

    return internal.is_lazy()


@pytest.mark.parametrize(
    ("software", "mode", "lazy"),
    [
        ("1.19", None, True),
        ("1.21", None, False),
        ("1.19", "0", False),
        ("1.21", "1", True),
        ("1.21", "2", True),  # only 0 is eager
    ],
)
def test_the_mode_depends_on_the_software_and_the_environment(software: str, mode: str | None, lazy: bool) -> None:
    environment = {"SIMULATED_GAUDI_SOFTWARE": software} | ({} if mode is None else {"PT_HPU_LAZY_MODE": mode})
    assert run(is_lazy, **environment) is lazy


@simulated()
def test_the_mode_is_read_once_and_a_later_change_keeps_the_card_away() -> None:
    import torch
    from habana_frameworks.torch.utils.internal import is_lazy

    os.environ["PT_HPU_LAZY_MODE"] = "0"
    import habana_frameworks.torch.core  # noqa: F401

    assert is_lazy()
    with pytest.raises(RuntimeError, match=r"^Wrong PT plugin library loaded in the system\. Expected was EAGER, got"):
        torch.zeros(1, device="hpu")


@simulated(PT_HPU_LAZY_MODE="0")
def test_the_same_from_eager_to_lazy() -> None:
    import habana_frameworks.torch.core  # noqa: F401
    import torch

    os.environ["PT_HPU_LAZY_MODE"] = "1"
    with pytest.raises(RuntimeError, match=r"^Wrong PT plugin library loaded in the system\. Expected LAZY, got EAGER"):
        torch.hpu.init()


def step_without_card() -> object:
    import habana_frameworks.torch.core as htcore
    import torch
    from habana_frameworks.torch.simulated import counts

    return htcore.mark_step(), torch.hpu.is_initialized(), counts().mark_steps


def test_in_eager_mode_a_step_does_nothing_and_says_so_at_the_import() -> None:
    with child(step_without_card, PT_HPU_LAZY_MODE="0") as outcome:
        assert outcome.value == (None, False, 0)
        line = "Calling mark_step function does not have any effect. It's lazy mode only functionality."
        assert outcome.stderr.count(line) == 1
    with child(step_without_card, PT_HPU_LAZY_MODE="1") as outcome:
        assert outcome.value == (None, False, 0)  # and without a card it does nothing in lazy mode
        assert outcome.stderr == ""


def names() -> tuple[set[str], set[str]]:
    import habana_frameworks.torch.core as htcore
    import torch

    return {name for name in dir(htcore) if name.startswith("hpu_")}, set(dir(torch.hpu))


def test_the_names_of_the_functions_depend_on_the_software() -> None:
    old, _ = run(names, SIMULATED_GAUDI_SOFTWARE="1.19")
    new, _ = run(names, SIMULATED_GAUDI_SOFTWARE="1.21")
    assert "hpu_inference_set_env" in new and "hpu_inference_set_env" not in old
    assert {"hpu_set_env", "hpu_set_inference_env", "hpu_inference_initialize", "hpu_teardown_inference_env"} <= old
    _, eager = run(names, SIMULATED_GAUDI_SOFTWARE="1.19", PT_HPU_LAZY_MODE="0")
    assert "wrap_in_hpu_graph" not in eager


@simulated()
def test_inference_environment_returns_a_model_only_where_it_is_given_one() -> None:
    import habana_frameworks.torch.core as htcore
    import torch
    from torch import nn

    assert htcore.hpu_inference_set_env() is None
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval().requires_grad_(False)
    net[1].running_mean.fill_(2)
    pixels = torch.randn(1, 3, 2, 2)
    expected = net(pixels)
    fused = htcore.hpu_inference_set_env(net)
    assert isinstance(fused, nn.Sequential) and isinstance(fused[1], nn.Identity)
    torch.testing.assert_close(fused(pixels), expected)
    htcore.hpu_inference_initialize(fused.to("hpu"))


def deprecated() -> None:
    import habana_frameworks.torch.core as htcore

    htcore.hpu_set_env()


def test_old_names_say_which_is_the_new_one() -> None:
    with child(deprecated, SIMULATED_GAUDI_SOFTWARE="1.21") as outcome:
        assert "[TO BE DEPRECATED] Please use hpu_inference_set_env" in outcome.stderr
    with child(deprecated, SIMULATED_GAUDI_SOFTWARE="1.19") as outcome:
        assert "DEPRECATED" not in outcome.stderr


@simulated(SIMULATED_GAUDI_NAME="GAUDI3")
def test_the_device_is_known_to_torch_by_its_name() -> None:
    import habana_frameworks.torch as htorch
    import torch

    assert torch.hpu is htorch.hpu
    assert torch.device("hpu").type == "hpu"
    x = torch.tensor([1.5, 2.5], device="hpu")
    assert str(x.device) == "hpu:0" and torch.arange(3, device="hpu").shape == (3,)
    assert repr(x) == "tensor([1.5000, 2.5000], device='hpu:0', simulated)"
    assert f"{x.sum():.1f}" == "4.0"
    assert torch.hpu.get_device_name() == "GAUDI3" and torch.hpu.current_device() == 0
    assert torch.hpu.get_arch_list() == ["GAUDI3"] and "device_type=5" in torch.hpu.get_device_properties()
    assert isinstance(torch.hpu.get_device_capability(), str)
    with pytest.raises(AssertionError, match="Invalid device id"):
        torch.hpu.get_device_name(1)


@pytest.mark.parametrize(
    ("environment", "loaded"),
    [({}, True), ({"PT_HPU_LAZY_MODE": "1"}, False), ({"PT_HPU_LAZY_MODE": "1", "PT_HPU_AUTOLOAD": "1"}, True)],
)
def test_torch_loads_it_by_itself_outside_lazy_mode(environment: dict[str, str], loaded: bool, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PT_HPU")}
    path = os.pathsep.join([str(SIMULATED), clean.pop("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", "import torch; print(hasattr(torch, 'hpu'))"],
        env={**clean, "PYTHONPATH": path, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(loaded)
