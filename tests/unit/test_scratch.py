"""Scratch folders: gone with their process, however it ends, and never taken from a process that runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lseg_serve.segmenter import ScratchFolder

PREFIX = "lseg-"
_HOLDER = """
import sys
from pathlib import Path
from lseg_serve.segmenter import ScratchFolder
folder = ScratchFolder(Path(sys.argv[1]), sys.argv[2])
(folder.path / "weights").write_bytes(bytes(1000))
print(folder.path, flush=True)
sys.stdin.read()
"""


@contextmanager
def _holder(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process with a scratch folder in `parent`, and the folder."""
    command = [sys.executable, "-c", _HOLDER, str(parent), PREFIX]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_the_next_folder_removes_that_of_an_ended_process(number: signal.Signals, tmp_path: Path) -> None:
    with _holder(tmp_path) as (process, left):
        process.send_signal(number)
        process.wait(60)
    assert (left / "weights").is_file(), "a signal gives a library no time to clean up"
    mine = ScratchFolder(tmp_path, PREFIX)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [mine.path]
    mine.remove()
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_stays(tmp_path: Path) -> None:
    with _holder(tmp_path) as (process, used):
        ScratchFolder(tmp_path, PREFIX).remove()
        assert (used / "weights").is_file()
        process.communicate("")


def test_what_others_put_beside_it_stays(tmp_path: Path) -> None:
    """A folder without a lock, and a link that another user of /tmp may have made to a file of this user."""
    (tmp_path / "lseg-results").mkdir()
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "lseg-0.lock").symlink_to(precious)
    ScratchFolder(tmp_path, PREFIX).remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lseg-0.lock", "lseg-results", "precious"]
    assert precious.read_text() == "kept"
