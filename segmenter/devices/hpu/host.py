"""What the kernel tells of this host and of the Gaudi cards in it. Nothing here opens a card."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from lseg_serve.segmenter.errors import DeviceError

_VARIABLES = ("HLS_MODULE_ID", "HABANA_VISIBLE_MODULES")


@dataclass(frozen=True)
class Host:
    """The host by its files.

    Attributes:
        root: the folder that holds `dev`, `proc` and `sys`.
    """

    root: Path = Path("/")

    @property
    def boot(self) -> str:
        """A name that no other host has, and that the containers of this one share: the kernel's id of this boot."""
        return _text(self.root / "proc/sys/kernel/random/boot_id") or platform.node()

    @property
    def generation(self) -> str | None:
        """The generation of its cards, such as GAUDI2, as the driver calls it; None if the driver does not tell."""
        return next((name for card in self._cards() if (name := _text(card / "device_type"))), None)

    def modules(self) -> tuple[int, ...]:
        """Module numbers of the cards that this process may use: those in the environment, else those in the host.

        Module numbers say where in the host a card sits. The numbers of the device files say only in which order the
        driver found the cards, and stand for no module. So there are none where the driver does not tell.

        Raises:
            DeviceError: the environment names modules that are not numbers.
        """
        for name in _VARIABLES:
            text = os.environ.get(name, "").strip()
            if text and text != "all":
                try:
                    return tuple(int(part) for part in text.split(","))
                except ValueError as error:
                    raise DeviceError(f"{name} is {text!r}; accepted: module numbers such as 0,1") from error
        numbers = [_text(card / "module_id") or "" for card in self._cards()]
        return tuple(sorted(int(number) for number in numbers if number.isdigit()))

    def _cards(self) -> list[Path]:
        """The driver's folder of each card whose device file is here: a container has those of its own cards only."""
        folders = sorted((self.root / "sys/class/accel").glob("accel*/device"))
        return [folder for folder in folders if (self.root / "dev/accel" / folder.parent.name).exists()]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
