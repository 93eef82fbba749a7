"""The tape of an HPU graph: every operator between the beginning and the end of a capture, to run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from habana_frameworks.torch.simulated.numerics import narrowed

if TYPE_CHECKING:
    from habana_frameworks.torch.simulated.memory import Cell
    from habana_frameworks.torch.simulated.tensor import HpuTensor


@dataclass(frozen=True, slots=True)
class Played:
    """One operator with the CPU tensors it read, and the one or several that hold its results."""

    operator: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    results: tuple[Tensor, ...]
    held: tuple[Cell, ...]  # the memory of the results, which is not free before the tape is

    def play(self) -> None:
        """Compute again from what the inputs hold now, into the same results."""
        out = self.operator(*self.args, **self.kwargs)
        outs = out if isinstance(out, tuple | list) else (out,)
        for result, new in zip(self.results, outs, strict=False):
            if isinstance(new, Tensor) and new is not result:
                result.copy_(narrowed(new))


class Tape:
    """The operators of one capture."""

    def __init__(self) -> None:
        self.operators: list[Played] = []

    def play(self) -> None:
        """Run all of them again."""
        for one in self.operators:
            one.play()


_current: Tape | None = None


def begin() -> None:
    """Start to keep what runs.

    Raises:
        RuntimeError: a capture is going on.
    """
    global _current
    if _current is not None:
        raise RuntimeError("an HPU graph is being captured already")
    _current = Tape()


def end() -> Tape:
    """Stop, and give what was kept."""
    global _current
    assert _current is not None
    tape, _current = _current, None
    return tape


def capturing() -> bool:
    """Whether a capture is going on in this process."""
    return _current is not None


def keep(operator: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], results: Sequence[HpuTensor]) -> None:
    """Add an operator to the tape."""
    if _current is not None:
        hosts, held = tuple(one.host for one in results), tuple(one.cell for one in results)
        _current.operators.append(Played(operator, args, kwargs, hosts, held))
