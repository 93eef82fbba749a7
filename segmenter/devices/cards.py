"""Which Gaudi card a process uses: each process has a card of its own.

TorchServe assigns GPUs to workers, but not Gaudi cards. So the workers share out the cards themselves, by locks on
files. Each card has a file, and the process that holds the lock on it has the card. The system releases the lock when
the process ends, even when it crashes, and the card is free again.
"""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

from lseg_serve.segmenter.errors import DeviceError


class CardClaim:
    """A card that this process has until `release`, or until this object or the process is gone."""

    def __init__(self, module: int, lock: FileLock) -> None:
        self.module = module
        self._lock = lock

    def release(self) -> None:
        """Make the card free again."""
        self._lock.release()


def claim_card(folder: Path) -> CardClaim | None:
    """Take the first free card; None if no card is visible, and the driver must choose.

    A card is named by its module number. If the environment names one in `HLS_MODULE_ID`, only that one is tried.

    Args:
        folder: the folder of the lock files, which must be the same for all workers.

    Raises:
        DeviceError: all cards are taken, the environment names modules that are not numbers, or `folder` cannot be
            written to.
    """
    modules = visible_modules()
    if not modules:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for module in modules:
            claim = _try_to_claim(module, folder)
            if claim is not None:
                return claim
    except OSError as error:
        raise DeviceError(
            f"hpu.card_locks is {str(folder)!r}, where no lock can be made ({error}); "
            "accepted: a folder that this user may write to"
        ) from error
    raise DeviceError(
        f"all {len(modules)} Gaudi cards (modules {', '.join(map(str, modules))}) are taken by other workers; "
        f"accepted: up to {len(modules)} workers on this machine"
    )


def visible_modules() -> list[int]:
    """The module numbers of the cards that this process may use, by the environment or else by the device files."""
    for name in ("HLS_MODULE_ID", "HABANA_VISIBLE_MODULES"):
        text = os.environ.get(name, "").strip()
        if text and text != "all":
            try:
                return [int(part) for part in text.split(",")]
            except ValueError as error:
                raise DeviceError(f"{name} is {text!r}; accepted: module numbers such as 0,1") from error
    # Newer drivers have /dev/accel/accel0, older ones /dev/hl0. Both have other files there, which are not cards.
    cards = [path for path in Path("/dev").glob("accel/accel[0-9]*") if path.name.removeprefix("accel").isdigit()]
    cards = cards or [path for path in Path("/dev").glob("hl[0-9]*") if path.name.removeprefix("hl").isdigit()]
    return list(range(len(cards)))


def _try_to_claim(module: int, folder: Path) -> CardClaim | None:
    # Any thread may give the card back, not only the one that took it.
    lock = FileLock(folder / f"module-{module}.lock", mode=0o600, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    # For people who ask which process has which card. Not in the lock's own file: each try to lock it empties that.
    (folder / f"module-{module}.pid").write_text(f"{os.getpid()}\n", encoding="ascii")
    return CardClaim(module, lock)
