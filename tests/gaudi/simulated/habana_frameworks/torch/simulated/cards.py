"""The machine's cards: one file each in a shared folder, locked by the process that holds the card.

The lock belongs to the open file, so the kernel releases it however the process ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
from dataclasses import dataclass
from typing import IO

from habana_frameworks.torch.simulated.environment import Machine, number, numbers

_LOGGER = logging.getLogger(__name__)
_NOT_FOUND = "synStatus=8 [Device not found] Device acquire failed."
_NO_CARDS = "synStatus=8 [Device not found] Device acquire failed. No devices found."
_FAILURE = "synStatus=26 [Generic failure] Device acquire failed."


@dataclass(frozen=True)
class Card:
    """A card that this process holds as long as the file is open."""

    module_id: int
    lock: IO[str]


def acquire_card(machine: Machine) -> Card:
    """Take the card that HLS_MODULE_ID names, or any free one.

    Raises:
        RuntimeError: with the real software's text: there is no card, none is free, or the card fails.
    """
    if not machine.cards:
        raise RuntimeError(_NO_CARDS)
    wanted = numbers("HLS_MODULE_ID")
    if wanted is not None:
        try:
            return _take(machine, wanted[:1] if wanted[0] < machine.cards else ())
        except RuntimeError:
            if "HABANA_VISIBLE_MODULES" in os.environ or machine.cards < number("WORLD_SIZE", 1):
                raise
            _LOGGER.warning("Device acquire failed for hls_mod_id: %d Proceeding without moduleid.", wanted[0])
    return _take(machine, tuple(range(machine.cards)))  # whatever HABANA_VISIBLE_MODULES says


def _take(machine: Machine, module_ids: tuple[int, ...]) -> Card:
    machine.folder.mkdir(parents=True, exist_ok=True)
    for module_id in module_ids:
        lock = (machine.folder / f"card-{module_id}.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if module_id in machine.failing_cards:
            lock.close()
            raise RuntimeError(_FAILURE)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return Card(module_id, lock)
    raise RuntimeError(_NOT_FOUND)
