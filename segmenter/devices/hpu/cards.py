"""Which Gaudi card a process uses: each process has a card of its own.

TorchServe assigns GPUs to workers, but not Gaudi cards. So the workers share out the cards themselves, by locks on
files. Each card has a file, and the process that holds the lock on it has the card. The system releases the lock when
the process ends, even when it crashes, and the card is free again. Somebody who knows nothing of the locks may have a
card, too. Then the driver refuses it, and the next card is tried.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lseg_serve.segmenter.devices.hpu.host import Host
from lseg_serve.segmenter.errors import DeviceError

_CHOSEN, _VISIBLE = "HLS_MODULE_ID", "HABANA_VISIBLE_MODULES"
# A folder of locks that nobody used for so long is of an earlier start of a host: 30 days.
_STALE_SECONDS = 30 * 24 * 3600


class CardClaim:
    """A card that this process has until `release`, or until this object or the process is gone."""

    def __init__(self, module: int, lock: FileLock) -> None:
        self.module = module
        self._lock = lock

    def release(self) -> None:
        """Make the card free again."""
        self._lock.release()


def take_card(locks: Path, acquire: Callable[[], None], host: Host | None = None) -> CardClaim | None:
    """Take the first card that no other worker has and that `acquire` accepts.

    Args:
        locks: the folder of the locks, the same for all workers. Each host has a folder of its own in it, because locks
            on a network's file system may hold on all its hosts.
        acquire: makes the driver take the card that the environment names; a DeviceError says that it did not.
        host: whose cards; None: those of this host.

    Returns:
        The claim on the card; None if nothing tells which cards there are, and the driver chose one in `acquire`.

    Raises:
        DeviceError: no card can be had, the environment names modules that are not numbers, or `locks` cannot be
            written to.
    """
    host = host or Host()
    modules = host.modules()
    if not modules:
        try:
            acquire()
        except DeviceError as error:
            raise DeviceError(f"no Gaudi card can be used (module unknown: {error})") from error
        return None
    failures = {}
    for module in modules:
        claim = _claim(module, locks, host)
        if claim is None:
            continue
        try:
            with _chosen(module, modules):
                acquire()
        except DeviceError as error:
            claim.release()
            failures[module] = error
        except BaseException:
            claim.release()
            raise
        else:
            _remove_stale(locks, host)
            return claim
    raise _none_left(modules, failures)


@contextmanager
def _chosen(module: int, modules: tuple[int, ...]) -> Iterator[None]:
    """Name the module in the environment, to stay there unless it fails.

    With a list of visible modules the bridge takes the named one or none. Without, it would go on to any free card, and
    nobody would know which.
    """
    before = {name: os.environ.get(name) for name in (_CHOSEN, _VISIBLE)}
    os.environ[_CHOSEN] = str(module)
    os.environ[_VISIBLE] = before[_VISIBLE] or ",".join(map(str, modules))
    try:
        yield
    except BaseException:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        raise


def _claim(module: int, locks: Path, host: Host) -> CardClaim | None:
    """A claim on the module; None if another worker has it."""
    folder = locks / host.boot
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Any thread may give the card back, not only the one that took it.
        lock = FileLock(folder / f"module-{module}.lock", mode=0o600, blocking=False, thread_local=False)
        lock.acquire()
        # For people who ask which process has which card. Not in the lock's own file: each try to lock it empties that.
        (folder / f"module-{module}.pid").write_text(f"{os.getpid()}\n", encoding="ascii")
    except Timeout:
        return None
    except OSError as error:
        raise DeviceError(
            f"hpu.card_locks is {str(locks)!r}, where no lock can be made ({error}); "
            "accepted: a folder that this user may write to"
        ) from error
    return CardClaim(module, lock)


def _remove_stale(locks: Path, host: Host) -> None:
    """Remove the folders of other starts of hosts in which no card was taken for long and no lock is held."""
    with suppress(OSError):
        for folder in locks.iterdir():
            with suppress(OSError, Timeout):  # it holds other things, is locked, or was removed just now
                _remove_if_stale(folder, host)


def _remove_if_stale(folder: Path, host: Host) -> None:
    files = [file for file in folder.iterdir() if re.fullmatch(r"module-\d+\.(lock|pid)", file.name)]
    newest = max((file.stat().st_mtime for file in files), default=time.time())
    if folder.name == host.boot or time.time() - newest < _STALE_SECONDS:
        return
    with ExitStack() as held:
        for file in files:
            if file.suffix == ".lock":
                held.enter_context(FileLock(file, mode=0o600, blocking=False))
        for file in files:
            file.unlink()
    folder.rmdir()


def _none_left(modules: tuple[int, ...], failures: dict[int, DeviceError]) -> DeviceError:
    """What to say where each module is taken by another worker, or failed."""
    if not failures:
        return DeviceError(
            f"all {len(modules)} Gaudi cards (modules {', '.join(map(str, modules))}) are taken by other workers; "
            f"accepted: up to {len(modules)} workers on this machine"
        )
    reasons = [f"module {module}: {failures.get(module, 'taken by another worker')}" for module in modules]
    error = DeviceError(f"no Gaudi card can be used ({'; '.join(reasons)})")
    error.__cause__ = next(iter(failures.values()))
    return error
