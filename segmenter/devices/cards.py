"""Which Gaudi card a process takes: one each, none taken twice, and one whose process died is free again.

TorchServe knows nothing of Gaudi cards and starts all workers alike, so the workers agree among themselves. Each card
has a file. Whoever holds the lock on it has the card. The system drops the lock when the process ends, however it ends.
"""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

from lseg_serve.segmenter.errors import DeviceError


class CardClaim:
    """A card of this process, taken until it is released, or until the claim or the process is gone."""

    def __init__(self, module: int, lock: FileLock) -> None:
        self.module = module
        self._lock = lock

    def release(self) -> None:
        """Give the card back."""
        self._lock.release()


def claim_card(folder: Path) -> CardClaim | None:
    """Take the first free card; None where the cards cannot be counted, and the driver may choose.

    A module that the environment already names (`HLS_MODULE_ID`) is the only one considered.

    Args:
        folder: where the locks are, the same for all workers.

    Raises:
        DeviceError: every card is taken.
    """
    modules = visible_modules()
    if not modules:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for module in modules:
        claim = _try_to_claim(module, folder)
        if claim is not None:
            return claim
    raise DeviceError(
        f"all {len(modules)} Gaudi cards (modules {', '.join(map(str, modules))}) are taken by other workers; "
        f"accepted: up to {len(modules)} workers on this machine"
    )


def visible_modules() -> list[int]:
    """The modules that this process may use, by the environment or else by the driver's device files."""
    for name in ("HLS_MODULE_ID", "HABANA_VISIBLE_MODULES"):
        text = os.environ.get(name, "").strip()
        if text and text != "all":
            try:
                return [int(part) for part in text.split(",")]
            except ValueError as error:
                raise DeviceError(f"{name} is {text!r}; accepted: module numbers such as 0,1") from error
    # /dev/accel/accel0 with newer drivers, /dev/hl0 with older ones; both have files beside it that are no cards.
    cards = [path for path in Path("/dev").glob("accel/accel[0-9]*") if path.name.removeprefix("accel").isdigit()]
    cards = cards or [path for path in Path("/dev").glob("hl[0-9]*") if path.name.removeprefix("hl").isdigit()]
    return list(range(len(cards)))


def _try_to_claim(module: int, folder: Path) -> CardClaim | None:
    lock = FileLock(folder / f"module-{module}.lock", mode=0o600, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return CardClaim(module, lock)
