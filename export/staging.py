"""Where an archive is written before it is complete: beside its target, and gone if anything goes wrong."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lseg_serve.export.errors import ExportError
from lseg_serve.segmenter import MANIFEST_FILE, ScratchFolder

# Hidden: TorchServe passes over hidden files when it loads a whole model store.
_PREFIX = ".lseg-export-"
# A request to end, and a terminal that was closed. Windows has no SIGHUP.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def staging_folder(output: Path) -> Iterator[Path]:
    """A folder in `output`, on the file system of the target, so that a finished archive moves there in one step.

    It is removed at the end, after an error, and after an interrupt, a request to terminate or a hang-up. What a killed
    export left behind is removed by the next one.
    """
    output.mkdir(parents=True, exist_ok=True)
    with _endings_as_interrupts():
        folder = ScratchFolder(output, _PREFIX)
        try:
            folder.path.chmod(0o755)  # a folder archive moves out of it and is read by the server's user
            yield folder.path
        finally:
            folder.remove()


@contextmanager
def _endings_as_interrupts() -> Iterator[None]:
    """Let signals that would end the process raise KeyboardInterrupt; one that is ignored (`nohup`) stays ignored."""
    if threading.current_thread() is not threading.main_thread():  # only there does Python take handlers
        yield
        return
    previous = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def publish(source: Path, target: Path) -> None:
    """Move a finished archive to its place; whoever looks sees the old one or the new, never a part."""
    check_replaceable(target, folder=source.is_dir())
    if not target.is_dir():
        source.replace(target)
        return
    # A folder cannot be replaced in one step: the old one is moved into the staging folder first.
    aside = source.parent / "replaced"
    target.rename(aside)
    try:
        source.replace(target)
    except BaseException:
        aside.rename(target)
        raise


def check_replaceable(target: Path, *, folder: bool | None = None) -> None:
    """Raise unless `target` is free or holds an older archive, the only thing that a new one may replace.

    Args:
        target: the archive's path.
        folder: whether the archive is a folder; where that is not known yet, None.

    Raises:
        ExportError: `target` is a folder, or a link to one, that is no exported model, or a file in place of a folder.
    """
    if folder and target.is_file():
        raise ExportError(f"{target} is a file; a folder cannot take its place")
    if target.is_symlink() and target.is_dir():
        raise ExportError(f"{target} is a link to a folder; remove it first")
    if target.is_dir() and not (target / MANIFEST_FILE).is_file():
        raise ExportError(f"{target} is a folder that is no exported model; it is left as it is")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
