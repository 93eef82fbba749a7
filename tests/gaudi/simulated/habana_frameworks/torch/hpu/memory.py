"""Memory of the card, under the names of `torch.hpu`. All sizes in bytes."""

from __future__ import annotations

from typing import Any

from habana_frameworks.torch.simulated.device import DEVICE
from habana_frameworks.torch.simulated.memory import MEMORY


def memory_stats(device: Any = None) -> dict[str, int]:
    """Limit, InUse, MaxInUse and the counts of allocations."""
    DEVICE.acquire()
    return MEMORY.stats()


def memory_allocated(device: Any = None) -> int:
    """Memory in use."""
    return memory_stats()["InUse"]


memory_usage = memory_allocated


def max_memory_allocated(device: Any = None) -> int:
    """The most that was in use."""
    return memory_stats()["MaxInUse"]


def memory_reserved(device: Any = None) -> int:
    """The limit."""
    return memory_stats()["Limit"]


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total)."""
    stats = memory_stats()
    return stats["Limit"] - stats["InUse"], stats["Limit"]


def memory_summary(device: Any = None) -> str:
    """The statistics as a table."""
    return "\n".join(f"{name:20} {value}" for name, value in memory_stats().items())


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let MaxInUse begin again from what is in use."""
    MEMORY.most_in_use = MEMORY.in_use


def reset_accumulated_memory_stats(device: Any = None) -> None:
    """Let the totals begin again from zero."""
    MEMORY.allocations = MEMORY.frees = MEMORY.total_allocated = MEMORY.total_freed = 0
