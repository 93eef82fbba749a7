"""What the process's environment says, and when it is read.

The real software reads some variables once, at its first import, and the rest when the card is acquired. The variables
of the simulator's own begin with SIMULATED_GAUDI_.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOFTWARE_VERSIONS = ("1.19", "1.21")
# What a Gaudi 2 card has: 96 GB.
_DEFAULT_MEMORY = 96 * 2**30


def truthy(text: str | None) -> bool:
    """How the metrics read a switch: y, yes, t, true, on or 1, in any case."""
    return (text or "").lower() in ("y", "yes", "t", "true", "on", "1")


def number(name: str, default: float = 0) -> float:
    """A variable as a number; the default where it is unset or empty."""
    return float(os.environ.get(name) or default)


def numbers(name: str) -> tuple[int, ...] | None:
    """A variable as a list of whole numbers separated by commas; None where it is unset or empty."""
    text = os.environ.get(name)
    return tuple(int(part) for part in text.split(",")) if text else None


def rank() -> int:
    """The process's place among those that work together."""
    return int(number("RANK"))


def _software() -> tuple[int, int]:
    text = os.environ.get("SIMULATED_GAUDI_SOFTWARE") or SOFTWARE_VERSIONS[-1]
    if text not in SOFTWARE_VERSIONS:
        raise ValueError(f"SIMULATED_GAUDI_SOFTWARE is {text!r}; accepted: {', '.join(SOFTWARE_VERSIONS)}")
    major, minor = text.split(".")
    return int(major), int(minor)


# Read once, at the first import, and not again.
SOFTWARE = _software()
DEFAULT_LAZY_MODE = "1" if SOFTWARE < (1, 21) else "0"


def lazy_mode_now() -> bool:
    """What the environment says at this moment; `utils.internal.is_lazy` is what was said at the first import."""
    return os.environ.get("PT_HPU_LAZY_MODE", DEFAULT_LAZY_MODE) != "0"


@dataclass(frozen=True)
class Machine:
    """The simulated machine: its cards, their memory, and the folder that all its processes share."""

    cards: int
    folder: Path
    failing_cards: tuple[int, ...]
    memory: int
    device_name: str

    @classmethod
    def from_environment(cls) -> Machine:
        """The machine as the variables describe it now."""
        default_folder = Path(tempfile.gettempdir()) / f"simulated-gaudi-{os.getuid()}"
        return cls(
            cards=int(number("SIMULATED_GAUDI_CARDS", 1)),
            folder=Path(os.environ.get("SIMULATED_GAUDI_FOLDER") or default_folder),
            failing_cards=numbers("SIMULATED_GAUDI_FAIL_CARDS") or (),
            memory=int(number("SIMULATED_GAUDI_MEMORY_BYTES", _DEFAULT_MEMORY)),
            device_name=os.environ.get("SIMULATED_GAUDI_NAME") or "GAUDI2",
        )
