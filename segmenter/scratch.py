"""Folders that live as long as their process: the next one removes what a killed process left behind.

Each folder has a lock file beside it, which its process holds locked. The system releases the lock when the process
ends, however it ends. A process id in the name would not do: containers that share a folder number their processes
alike.
"""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK_SUFFIX = ".lock"


class ScratchFolder:
    """A new folder, private to this user, until `remove` or until the process is gone."""

    def __init__(self, parent: Path, prefix: str) -> None:
        """Remove what dead processes left in `parent` under this prefix, and make a new folder.

        Raises:
            OSError: `parent` cannot be written to.
        """
        remove_abandoned(parent, prefix)
        self.path = parent / f"{prefix}{uuid.uuid4().hex}"
        self._lock = _lock_of(self.path)
        self._lock.acquire(blocking=True)  # before the folder is there, so that nobody takes it for abandoned
        try:
            self.path.mkdir(mode=0o700)
        except BaseException:
            self._unlock()
            raise

    def remove(self) -> None:
        """Remove the folder and its lock file."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove this user's folders in `parent` whose process has ended."""
    for path in parent.glob(f"{prefix}*{_LOCK_SUFFIX}"):
        if not _is_own_file(path):
            continue
        folder = path.with_name(path.name.removesuffix(_LOCK_SUFFIX))
        lock = _lock_of(folder)
        try:
            lock.acquire()
        except (Timeout, OSError):
            continue  # in use, or not to be locked here
        shutil.rmtree(folder, ignore_errors=True)
        path.unlink(missing_ok=True)
        lock.release()


def _lock_of(folder: Path) -> FileLock:
    # Any thread may remove the folder, not only the one that made it.
    path = folder.with_name(folder.name + _LOCK_SUFFIX)
    return FileLock(path, mode=0o600, blocking=False, thread_local=False)


def _is_own_file(path: Path) -> bool:
    """Whether this user made it. In a shared folder anybody can put a link of that name."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and (os.name == "nt" or status.st_uid == os.getuid())
