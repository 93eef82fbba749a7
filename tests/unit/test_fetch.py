"""`lseg fetch` with a server that answers as Google Drive does, by processes of its own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lseg_serve.cli.published import PUBLISHED
from tests.conftest import PROJECT
from tests.support.drive import Drive, drive, is_possible
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_possible(), reason="openssl, which makes the certificate, is not here"),
]
ID = PUBLISHED["demo_e200"].drive_id


@pytest.fixture
def google(tmp_path: Path, small_checkpoint: Path) -> Iterator[Drive]:
    with drive(tmp_path) as one:
        one.files[ID] = small_checkpoint.read_bytes()
        yield one


def _command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "lseg_serve.cli", "fetch", *arguments, "--output", str(folder)]


def _environment(google: Drive) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT / "src"), **google.environment}


def _fetch(google: Drive, folder: Path, name: str = "demo_e200", *options: str) -> subprocess.CompletedProcess[str]:
    command = _command(folder, name, *options)
    return subprocess.run(command, env=_environment(google), capture_output=True, text=True, timeout=120, check=False)


def test_a_checkpoint_comes_through_the_warning_and_is_read(google: Drive, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    run = _fetch(google, folder)
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{folder / 'demo_e200.ckpt'}\n"
    content = google.files[ID]
    digest = hashlib.sha256(content).hexdigest()
    assert (folder / "demo_e200.ckpt").read_bytes() == content
    assert (folder / "demo_e200.ckpt.sha256").read_text() == f"{digest}  demo_e200.ckpt\n"
    assert digest in run.stderr and "vit of width 128" in run.stderr
    assert sorted(one.name for one in folder.iterdir()) == ["demo_e200.ckpt", "demo_e200.ckpt.sha256"]
    google.quota = True
    again = _fetch(google, folder, "demo_e200", "--json")
    assert again.returncode == 0, "what is there is not fetched again"
    assert json.loads(again.stdout)["sha256"] == digest
    assert len(google.asked) == 1


def test_breaks_are_gone_on_with_in_one_command(google: Drive, tmp_path: Path) -> None:
    google.breaks = [700_000, 600_000]
    run = _fetch(google, tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out" / "demo_e200.ckpt").read_bytes() == google.files[ID]
    assert google.asked[0][1] is None
    assert all(wanted is not None for _, wanted in google.asked[1:]) and len(google.asked) == 3


def test_a_later_command_goes_on_with_what_has_arrived(google: Drive, tmp_path: Path) -> None:
    google.breaks = [700_000, *[0] * 30]
    first = _fetch(google, tmp_path / "out")
    assert first.returncode == 4
    assert "the same command goes on with what has arrived" in first.stderr
    assert not (tmp_path / "out" / "demo_e200.ckpt").exists()
    google.breaks, google.asked = [], []
    second = _fetch(google, tmp_path / "out")
    assert second.returncode == 0, second.stderr
    assert (tmp_path / "out" / "demo_e200.ckpt").read_bytes() == google.files[ID]
    assert any(wanted and int(wanted[6:-1]) > 0 for _, wanted in google.asked)


def test_the_quota_page_is_no_file(google: Drive, tmp_path: Path) -> None:
    google.quota = True
    run = _fetch(google, tmp_path / "out", "demo_e200", "--json")
    assert run.returncode == 4
    assert "files that were fetched too often (quota)" in json.loads(run.stderr.splitlines()[-1])["error"]["message"]
    assert not list((tmp_path / "out").iterdir())


def test_another_file_than_before_is_refused(google: Drive, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert _fetch(google, folder).returncode == 0
    (folder / "demo_e200.ckpt").unlink()
    google.files[ID] += b"."
    run = _fetch(google, folder)
    assert run.returncode == 3
    assert "it is another file than before" in run.stderr
    assert not (folder / "demo_e200.ckpt").exists()
    (folder / "demo_e200.ckpt").write_bytes(b"changed on disk")
    assert "it is another file than before" in _fetch(google, folder).stderr


def test_what_is_no_checkpoint_or_another_network_is_refused_and_kept_apart(
    google: Drive, tmp_path: Path, small_checkpoint: Path
) -> None:
    google.files = {ID: b"<html><title>a page</title></html>", PUBLISHED["fss_rn101"].drive_id: google.files[ID]}
    page, other = _fetch(google, tmp_path / "out"), _fetch(google, tmp_path / "out", "fss_rn101")
    assert page.returncode == other.returncode == 3
    assert "not a checkpoint but an HTML page" in page.stderr
    assert "holds a vit, and fss_rn101 is a ResNet-101" in other.stderr
    kept = sorted(one.name for one in (tmp_path / "out").iterdir())
    assert kept == ["demo_e200.ckpt.refused", "fss_rn101.ckpt.refused"]


def test_a_file_that_is_gone_and_a_name_that_is_none(google: Drive, tmp_path: Path) -> None:
    gone, unknown = _fetch(google, tmp_path, "coco_fold0"), _fetch(google, tmp_path, "resnet")
    private = _fetch(google, tmp_path, "demo_e200_fp32")
    assert gone.returncode == unknown.returncode == private.returncode == 3
    assert "Google Drive sent a page, not the file" in gone.stderr
    assert "accepted: demo_e200, " in unknown.stderr
    assert "asks for a sign-in" in private.stderr


def test_an_interrupted_download_is_gone_on_with(google: Drive, tmp_path: Path) -> None:
    """Killed while the server holds back the rest."""
    google.breaks = [700_000, *[0] * 100]
    folder = tmp_path / "out"
    with subprocess.Popen(
        _command(folder, "demo_e200"), env=_environment(google), stderr=subprocess.PIPE, text=True
    ) as process:
        assert eventually(lambda: len(google.asked) > 1, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
        assert process.stderr is not None and "interrupted" in process.stderr.read()
    google.breaks, google.asked = [], []
    assert _fetch(google, folder).returncode == 0
    assert any(wanted and int(wanted[6:-1]) > 0 for _, wanted in google.asked)
