"""The card's memory: bytes of live tensors and of loaded recipes, against a limit."""

from __future__ import annotations

from dataclasses import dataclass
from threading import RLock

from habana_frameworks.torch.simulated.environment import rank


@dataclass
class Memory:
    """What `torch.hpu.memory_stats` reports, in bytes."""

    limit: int = 0
    in_use: int = 0
    most_in_use: int = 0
    allocations: int = 0
    frees: int = 0
    largest: int = 0
    total_allocated: int = 0
    total_freed: int = 0

    def allocate(self, size: int) -> None:
        """Take `size` bytes.

        Raises:
            RuntimeError: more than is left, in the words of the real allocator.
        """
        with _LOCK:
            if self.in_use + size > self.limit:
                raise RuntimeError(
                    f"[Rank:{rank()}] FATAL ERROR :: MODULE:PT_DEVMEM "
                    f"Allocation failed for size::{size} ({size // 2**20})MB"
                )
            self.in_use += size
            self.most_in_use = max(self.most_in_use, self.in_use)
            self.allocations += 1
            self.largest = max(self.largest, size)
            self.total_allocated += size

    def free(self, size: int) -> None:
        """Give `size` bytes back."""
        with _LOCK:
            self.in_use -= size
            self.frees += 1
            self.total_freed += size

    def stats(self) -> dict[str, int]:
        """The figures under the real software's keys."""
        return {
            "Limit": self.limit,
            "InUse": self.in_use,
            "MaxInUse": self.most_in_use,
            "NumAllocs": self.allocations,
            "NumFrees": self.frees,
            "ActiveAllocs": self.allocations - self.frees,
            "MaxAllocSize": self.largest,
            "TotalSystemAllocs": self.total_allocated,
            "TotalSystemFrees": self.total_freed,
            "TotalActiveAllocs": self.total_allocated - self.total_freed,
        }


# Reentrant: a tensor may be freed by the garbage collector in the middle of an allocation.
_LOCK = RLock()
MEMORY = Memory()


class Cell:
    """One allocation, shared by a tensor and its views; freed with the last of them.

    `writer` is the number of the last operator that wrote to it in place, if it did so in the step `step`.
    """

    __slots__ = ("__weakref__", "size", "step", "writer")

    def __init__(self, size: int) -> None:
        self.size = 0
        MEMORY.allocate(size)
        self.size = size
        self.step = -1
        self.writer = -1

    def __del__(self) -> None:
        if self.size:
            MEMORY.free(self.size)
