"""Workers share Gaudi cards by locks on files: each card has one holder, and a dead one holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lseg_serve.segmenter.devices.hpu.cards import CardClaim, take_card
from lseg_serve.segmenter.devices.hpu.host import Host
from lseg_serve.segmenter.errors import DeviceError

_HOLDER = """
import sys
from pathlib import Path
from lseg_serve.segmenter.devices.hpu.cards import take_card
claim = take_card(Path(sys.argv[1]), lambda: None)
print(claim.module, flush=True)
sys.stdin.read()
"""


def claim_card(folder: Path, host: Host | None = None) -> CardClaim | None:
    """A card for one more worker, of a driver that refuses none; the environment is left as it was."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HLS_MODULE_ID", os.environ.get("HLS_MODULE_ID", ""))
        return take_card(folder, lambda: None, host)


@pytest.fixture(autouse=True)
def _two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HLS_MODULE_ID", "")  # so that it is as before after each test, whatever that sets
    monkeypatch.delenv("HLS_MODULE_ID")
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
    assert claim_card(tmp_path, Host(tmp_path)) is None


@pytest.mark.parametrize("value", ["a", "0,", "0;1"])
def test_odd_module_numbers_are_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HABANA_VISIBLE_MODULES", value)
    with pytest.raises(DeviceError, match="accepted: module numbers such as 0,1"):
        Host().modules()


def _refusing(*refused: int) -> Callable[[], None]:
    """A driver that refuses some modules, because somebody has them who knows nothing of the locks."""

    def acquire() -> None:
        assert os.environ["HABANA_VISIBLE_MODULES"] == "3,5"
        if int(os.environ["HLS_MODULE_ID"]) in refused:
            raise DeviceError("Device acquire failed")

    return acquire


def test_a_card_that_the_driver_refuses_is_left_and_the_next_one_tried(tmp_path: Path) -> None:
    mine = take_card(tmp_path, _refusing(3))
    assert mine is not None and mine.module == 5
    assert os.environ["HLS_MODULE_ID"] == "5"
    del os.environ["HLS_MODULE_ID"]
    with pytest.raises(DeviceError, match="module 3: Device acquire failed; module 5: taken by another worker"):
        take_card(tmp_path, _refusing(3))
    assert "HLS_MODULE_ID" not in os.environ
    other = claim_card(tmp_path)
    assert other is not None and other.module == 3, "it was not kept locked"


def test_a_failure_that_no_card_has_is_not_tried_again(tmp_path: Path) -> None:
    tries = []

    def acquire() -> None:
        tries.append(os.environ["HLS_MODULE_ID"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_card(tmp_path, acquire)
    assert tries == ["3"]
    claim = claim_card(tmp_path)
    assert claim is not None and claim.module == 3


def _host(root: Path, boot: str, **modules: int) -> Host:
    """A host with cards as the driver shows them: device file -> module."""
    (root / "proc/sys/kernel/random").mkdir(parents=True)
    (root / "proc/sys/kernel/random/boot_id").write_text(f"{boot}\n")
    for name, module in modules.items():
        card, device = root / "sys/class/accel" / name / "device", root / "dev/accel" / name
        card.mkdir(parents=True)
        device.parent.mkdir(parents=True, exist_ok=True)
        device.touch()
        (card / "module_id").write_text(f"{module}\n")
        (card / "device_type").write_text("GAUDI2\n")
    return Host(root)


def test_hosts_that_share_the_folder_do_not_share_the_locks(tmp_path: Path) -> None:
    """As over a home folder on a network's file system. Containers of one host have its boot in common, and share."""
    here, there = _host(tmp_path / "here", "a"), _host(tmp_path / "there", "b")
    claims = [claim_card(tmp_path / "locks", host) for host in (here, there, here)]
    assert [claim.module for claim in claims if claim is not None] == [3, 3, 5]


def test_folders_of_earlier_starts_are_removed_once_nobody_uses_them(tmp_path: Path) -> None:
    locks, month = tmp_path / "locks", 30 * 24 * 3600
    claims = {}
    for start in ("old", "held", "recent", "with more in it", "now"):
        claims[start] = claim_card(locks, _host(tmp_path / start, start))
    (locks / "with more in it" / "notes.txt").touch()
    for start in ("old", "recent", "with more in it"):
        claim = claims[start]
        assert claim is not None
        claim.release()
    for start in ("old", "held", "with more in it", "now"):
        for file in (*(locks / start).iterdir(), locks / start):
            os.utime(file, (time.time() - month - 60,) * 2)
    assert claim_card(locks, _host(tmp_path / "another now", "now")) is not None
    assert {folder.name for folder in locks.iterdir()} == {"held", "recent", "with more in it", "now"}
    assert (locks / "with more in it" / "notes.txt").exists()
    assert (locks / "held" / "module-3.lock").exists()


def test_the_driver_tells_which_modules_the_cards_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HABANA_VISIBLE_MODULES", "all")
    host = _host(tmp_path, "a", accel0=5, accel1=2)
    assert host.modules() == (2, 5)
    assert host.generation == "GAUDI2"
    (tmp_path / "dev/accel/accel1").unlink()  # a container without this card
    assert host.modules() == (5,)


def test_a_driver_that_tells_no_modules_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HABANA_VISIBLE_MODULES")
    host = _host(tmp_path, "a", accel0=5)
    (tmp_path / "sys/class/accel/accel0/device/module_id").unlink()
    assert host.modules() == ()
