"""The one card of this process: acquired at the first use of the device, held until the process ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import RLock

import psutil

from habana_frameworks.torch.simulated.cards import Card, acquire_card
from habana_frameworks.torch.simulated.environment import DEFAULT_LAZY_MODE, Machine, lazy_mode_now, number, rank
from habana_frameworks.torch.simulated.memory import MEMORY
from habana_frameworks.torch.simulated.recipes import RECIPES
from habana_frameworks.torch.utils.event_dispatcher import EventId, publish
from habana_frameworks.torch.utils.internal import is_lazy

# In the order in which the real software prints them, with their defaults.
_BANNER = {
    "PT_HPU_LAZY_MODE": DEFAULT_LAZY_MODE,
    "PT_RECIPE_CACHE_PATH": "",
    "PT_CACHE_FOLDER_DELETE": "0",
    "PT_HPU_RECIPE_CACHE_CONFIG": "",
    "PT_HPU_MAX_COMPOUND_OP_SIZE": str(2**63 - 1),
    "PT_HPU_LAZY_ACC_PAR_MODE": "1",
    "PT_HPU_ENABLE_REFINE_DYNAMIC_SHAPES": "0",
    "PT_HPU_EAGER_PIPELINE_ENABLE": "1",
    "PT_HPU_EAGER_COLLECTIVE_PIPELINE_ENABLE": "1",
}


class Device:
    """The device as the process sees it."""

    def __init__(self) -> None:
        self.card: Card | None = None
        self._forked = self._failed = False
        self._lock = RLock()
        os.register_at_fork(after_in_child=self._after_fork)

    @property
    def acquired(self) -> bool:
        """Whether the process holds its card."""
        return self.card is not None

    def acquire(self) -> None:
        """Take a card, unless the process has one.

        Raises:
            RuntimeError: no card can be had, or the environment no longer says what it said at the first import.
        """
        with self._lock:
            if self._forked:
                raise RuntimeError("Cannot use the (simulated) hpu in a forked process; start it with 'spawn'")
            if self.card is not None:
                return
            _check_library()
            machine = Machine.from_environment()
            card = acquire_card(machine)
            MEMORY.limit = machine.memory
            RECIPES.open()
            self.card = card
            if rank() == 0:
                print(_banner(card), file=sys.stderr, flush=True)
        publish(EventId.DEVICE_ACQUIRED)

    def check(self) -> None:
        """Fail where the host waits for the card, if a file SIMULATED_GAUDI_FAULT_FILE is there, and ever after.

        The file is removed: the card works again in another process.
        """
        fault = os.environ.get("SIMULATED_GAUDI_FAULT_FILE")
        if fault and Path(fault).exists():
            Path(fault).unlink()
            self._failed = True
        if self._failed:
            raise RuntimeError("synStatus=26 [Generic failure] Synchronize failed (simulated)")

    def _after_fork(self) -> None:
        """The card stays with the parent: its lock lives on there when this process closes its copy of the file."""
        if self.card is not None:
            self.card.lock.close()
            self.card, self._forked = None, True


def _check_library() -> None:
    """The library chosen at the import must be the one that the environment asks for now."""
    if is_lazy() and not lazy_mode_now():
        raise RuntimeError("Wrong PT plugin library loaded in the system. Expected was EAGER, got LAZY.")
    if not is_lazy() and lazy_mode_now():
        raise RuntimeError("Wrong PT plugin library loaded in the system. Expected LAZY, got EAGER.")


def _banner(card: Card) -> str:
    """The configuration as the real software prints it, with a first line that says what this is."""
    return "\n".join(
        [
            f"simulated Gaudi: module {card.module_id}, computed by CPU torch",
            "============================= HABANA PT BRIDGE CONFIGURATION =========================== ",
            *(f" {name} = {os.environ.get(name, default)}" for name, default in _BANNER.items()),
            "---------------------------: System Configuration :---------------------------",
            f"Num CPU Cores : {os.cpu_count()}",
            f"CPU RAM       : {psutil.virtual_memory().total // 1024} KB",
            "------------------------------------------------------------------------------",
        ]
    )


DEVICE = Device()
# Operators after which the pending graph is run in any case.
MOST_OPERATORS = int(number("PT_HPU_MAX_COMPOUND_OP_SIZE", 2**63 - 1))
