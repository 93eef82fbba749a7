"""What the device has done so far, for tests to read."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch


@dataclass
class Counts:
    """Totals of this process. Copies are counted with their bytes; a sync is a wait of the host for the device.

    `types` has how often an operator ran in which type, as "bmm bfloat16": products, norms, softmax, resizes.
    """

    compiles: int = 0
    compiled_operators: int = 0
    launches: int = 0
    recipe_hits: int = 0
    recipe_misses: int = 0
    fallbacks: dict[str, int] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    device_to_host: int = 0
    device_to_host_bytes: int = 0
    host_to_device: int = 0
    host_to_device_bytes: int = 0
    syncs: int = 0
    mark_steps: int = 0
    graph_replays: int = 0

    def since(self, earlier: Counts) -> Counts:
        """What was added since `earlier`."""
        return Counts(
            **{one.name: _difference(getattr(self, one.name), getattr(earlier, one.name)) for one in fields(self)}
        )


def _difference(now: Any, before: Any) -> Any:
    if not isinstance(now, dict):
        return now - before
    return {name: count - before.get(name, 0) for name, count in now.items() if count != before.get(name, 0)}


@dataclass(frozen=True)
class CompiledGraph:
    """A graph that the compiler ran for: what tells it from all others, for people to read."""

    recipe: str
    operators: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: int
    cut_by: str

    def __str__(self) -> str:
        names = [name.removeprefix("aten::").partition(".")[0] for name in self.operators]
        shown = names if len(names) <= 12 else [*names[:6], f"... {len(names) - 12} more ...", *names[-6:]]
        return (
            f"{self.recipe} (cut by {self.cut_by}): {' '.join(shown)}"
            f" | inputs {' '.join(dict.fromkeys(self.inputs))} | {self.outputs} outputs"
        )


# The totals themselves; only the simulator writes to them.
TOTALS = Counts()
GRAPHS: list[CompiledGraph] = []


def counts() -> Counts:
    """A copy of the totals as they stand."""
    return replace(TOTALS, fallbacks=dict(TOTALS.fallbacks), types=dict(TOTALS.types))


def count_type(name: str, dtype: torch.dtype) -> None:
    """Count that the operator `name` ran in `dtype`."""
    key = f"{name} {str(dtype).removeprefix('torch.')}"
    TOTALS.types[key] = TOTALS.types.get(key, 0) + 1


def compiled_graphs() -> list[CompiledGraph]:
    """The graphs compiled so far, in order."""
    return list(GRAPHS)


def reset_counts() -> None:
    """Set all totals to zero; recipes stay known."""
    for one in fields(TOTALS):
        setattr(TOTALS, one.name, {} if one.name in ("fallbacks", "types") else 0)
    GRAPHS.clear()
