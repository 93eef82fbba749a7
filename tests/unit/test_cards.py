"""Workers share Gaudi cards by locks on files: each card has one holder, and a dead one holds nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lseg_serve.segmenter.devices.cards import claim_card, visible_modules
from lseg_serve.segmenter.errors import DeviceError

_HOLDER = """
import sys
from pathlib import Path
from lseg_serve.segmenter.devices.cards import claim_card
claim = claim_card(Path(sys.argv[1]))
print(claim.module, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HLS_MODULE_ID", raising=False)
    monkeypatch.setenv("HABANA_VISIBLE_MODULES", "3,5")


def test_each_claim_takes_another_card_until_none_is_left(tmp_path: Path) -> None:
    first, second = claim_card(tmp_path), claim_card(tmp_path)
    assert first is not None and second is not None
    assert (first.module, second.module) == (3, 5)
    with pytest.raises(DeviceError, match=r"all 2 Gaudi cards \(modules 3, 5\) are taken .* up to 2 workers"):
        claim_card(tmp_path)
    first.release()
    third = claim_card(tmp_path)
    assert third is not None and third.module == 3


def test_a_killed_processes_card_is_free_again(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "3\n"
        mine = claim_card(tmp_path)
        assert mine is not None and mine.module == 5
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    again = claim_card(tmp_path)
    assert again is not None and again.module == 3


def test_a_card_that_another_thread_gives_back_is_free_again(tmp_path: Path) -> None:
    claim = claim_card(tmp_path)
    assert claim is not None and claim.module == 3
    thread = threading.Thread(target=claim.release)
    thread.start()
    thread.join()
    again = claim_card(tmp_path)
    assert again is not None and again.module == 3


def test_a_folder_that_cannot_hold_locks_is_named(tmp_path: Path) -> None:
    """A file lies in its way here; a home folder that is not writable, or is there for another user, ends alike."""
    (tmp_path / "file").touch()
    with pytest.raises(
        DeviceError, match=r"hpu\.card_locks is '.*file/cards', .*accepted: a folder that this user may"
    ):
        claim_card(tmp_path / "file" / "cards")


def test_a_module_that_the_environment_names_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HLS_MODULE_ID", "5")
    claim = claim_card(tmp_path)
    assert claim is not None and claim.module == 5
    with pytest.raises(DeviceError, match=r"all 1 Gaudi cards \(modules 5\)"):
        claim_card(tmp_path)


def test_cards_that_cannot_be_counted_are_left_to_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HABANA_VISIBLE_MODULES", "all")
    if visible_modules():
        pytest.skip("this machine has Gaudi cards")
    assert claim_card(tmp_path) is None


@pytest.mark.parametrize("value", ["a", "0,", "0;1"])
def test_odd_module_numbers_are_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HABANA_VISIBLE_MODULES", value)
    with pytest.raises(DeviceError, match="accepted: module numbers such as 0,1"):
        visible_modules()
