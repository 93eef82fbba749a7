"""Who gets which card of the simulated machine, and what is said to who gets none."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.gaudi.process import Outcome, child, simulated

ALL_TAKEN = "RuntimeError: synStatus=8 [Device not found] Device acquire failed.\n"
NO_CARD = "RuntimeError: synStatus=8 [Device not found] Device acquire failed. No devices found.\n"
FAILURE = "RuntimeError: synStatus=26 [Generic failure] Device acquire failed.\n"


def acquire() -> tuple[int, bool, int]:
    """The module this process got, whether a card is available, and how many."""
    import habana_frameworks.torch.core  # noqa: F401
    import torch
    from habana_frameworks.torch.simulated.device import DEVICE

    available, count = torch.hpu.is_available(), torch.hpu.device_count()
    assert not torch.hpu.is_initialized()  # asking takes no card
    torch.zeros(1, device="hpu").cpu()
    assert DEVICE.card is not None
    return DEVICE.card.module_id, available, count


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    return {"SIMULATED_GAUDI_FOLDER": str(tmp_path), "SIMULATED_GAUDI_CARDS": "2"}


def failed_with(outcome: Outcome, text: str) -> bool:
    return outcome.error is not None and outcome.error.endswith(text)


def test_every_process_gets_a_card_of_its_own_until_none_is_left(machine: dict[str, str]) -> None:
    with child(acquire, **machine) as first:
        with child(acquire, **machine) as second:
            assert {first.value, second.value} == {(0, True, 2), (1, True, 2)}
            with child(acquire, **machine) as third:
                assert failed_with(third, ALL_TAKEN)
        with child(acquire, **machine) as again:  # released with its process
            assert again.value == second.value


def acquire_and_crash() -> None:
    acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_crash_releases_the_card(machine: dict[str, str]) -> None:
    with pytest.raises(EOFError), child(acquire_and_crash, **machine):
        pass
    with child(acquire, **machine) as after:
        assert after.value[0] == 0


def test_a_machine_without_cards(machine: dict[str, str]) -> None:
    with child(acquire, **machine | {"SIMULATED_GAUDI_CARDS": "0"}) as outcome:
        assert failed_with(outcome, NO_CARD)


def test_the_module_id_chooses_the_card(machine: dict[str, str]) -> None:
    with child(acquire, **machine, HLS_MODULE_ID="1") as first:
        assert first.value[0] == 1
        with child(acquire, **machine, HLS_MODULE_ID="1") as other:
            assert other.value[0] == 0  # it goes on without the module id
            assert "Device acquire failed for hls_mod_id: 1 Proceeding without moduleid." in other.stderr
        with child(acquire, **machine, HLS_MODULE_ID="1", HABANA_VISIBLE_MODULES="0,1") as strict:
            assert failed_with(strict, ALL_TAKEN)


def test_without_a_module_id_visible_modules_count_for_nothing(machine: dict[str, str]) -> None:
    with child(acquire, **machine, HABANA_VISIBLE_MODULES="1") as first:
        assert first.value == (0, True, 2)


def test_a_failing_card_says_generic_failure(machine: dict[str, str]) -> None:
    chosen = {"HABANA_VISIBLE_MODULES": "1", "HLS_MODULE_ID": "1"}
    with child(acquire, **machine, SIMULATED_GAUDI_FAIL_CARDS="1", **chosen) as outcome:
        assert failed_with(outcome, FAILURE)
    with child(acquire, **machine, SIMULATED_GAUDI_FAIL_CARDS="1", HLS_MODULE_ID="0") as outcome:
        assert outcome.value[0] == 0


def set_device(index: int) -> int:
    import habana_frameworks.torch.core  # noqa: F401
    import torch

    torch.hpu.set_device(index)
    return acquire()[0]


def test_set_device_chooses_among_the_visible_modules(machine: dict[str, str]) -> None:
    machine["SIMULATED_GAUDI_CARDS"] = "4"
    with child(set_device, 1, **machine, HABANA_VISIBLE_MODULES="1,3") as outcome:
        assert outcome.value == 3
    with child(set_device, 1, **machine) as outcome:
        assert outcome.error is not None and "the only supported device idx is 0." in outcome.error


def test_the_banner_tells_the_mode_and_that_it_is_simulated(machine: dict[str, str]) -> None:
    with child(acquire, **machine, PT_HPU_LAZY_MODE="1") as outcome:
        lines = outcome.stderr.splitlines()
        assert lines[0] == "simulated Gaudi: module 0, computed by CPU torch"
        assert "= HABANA PT BRIDGE CONFIGURATION =" in lines[1]
        assert " PT_HPU_LAZY_MODE = 1" in lines
        assert any(line.startswith("Num CPU Cores : ") for line in lines)
    with child(acquire, **machine, RANK="1") as outcome:
        assert "CONFIGURATION" not in outcome.stderr


@simulated()
def test_a_forked_process_cannot_use_the_card_and_leaves_it_to_its_parent() -> None:
    import habana_frameworks.torch.core  # noqa: F401
    import torch

    torch.zeros(1, device="hpu")
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            torch.zeros(1, device="hpu")
        except RuntimeError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.wait()
    assert b"forked process" in os.read(read, 1000)
    assert torch.ones(1).to("hpu").item() == 1
