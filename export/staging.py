"""Where an archive is written before it is complete: beside its target, and gone if anything goes wrong."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

# Hidden: TorchServe passes over hidden files when it loads a whole model store.
_PREFIX = ".lseg-export-"


@contextmanager
def staging_folder(output: Path) -> Iterator[Path]:
    """A folder in `output`, on the file system of the target, so that a finished archive moves there in one step.

    It is removed at the end, after an error, and after an interrupt or a request to terminate. What a killed export
    left behind is removed by the next one.
    """
    output.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(output)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=output))
    folder.chmod(0o755)  # a folder archive moves out of it and is read by the server's user
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, previous)


def publish(source: Path, target: Path) -> None:
    """Move a finished archive to its place; whoever looks sees the old one or the new, never a part."""
    if target.is_dir() and not target.is_symlink():
        # A folder cannot be replaced in one step: the old one steps aside into the staging folder first.
        target.rename(source.parent / "replaced")
    source.replace(target)


def _remove_abandoned(output: Path) -> None:
    for folder in output.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
