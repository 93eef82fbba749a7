"""The end of a step: run what is pending, then what was to be done after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from habana_frameworks.torch.simulated.counts import TOTALS
from habana_frameworks.torch.simulated.device import DEVICE
from habana_frameworks.torch.simulated.recorder import RECORDER
from habana_frameworks.torch.utils.event_dispatcher import EventId, publish
from habana_frameworks.torch.utils.internal import lazy_only

_CLOSURES: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []


@lazy_only
def add_step_closure(closure: Callable[..., Any], args: tuple[Any, ...] = ()) -> None:
    """Call `closure` with `args` after the next step."""
    _CLOSURES.append((closure, args))


@lazy_only
def mark_step(device_str: str = "", sync: bool = False) -> None:
    """Cut the graph and run it; does nothing while no card is held."""
    _step("mark_step")


@lazy_only
def iter_mark_step(device_str: str = "") -> None:
    """As `mark_step`, at the end of an iteration."""
    _step("iter_mark_step")


def _step(reason: str) -> None:
    if not DEVICE.acquired:
        return
    RECORDER.cut(reason)
    TOTALS.mark_steps += 1
    closures = list(_CLOSURES)
    _CLOSURES.clear()
    for closure, args in closures:
        closure(*args)
    publish(EventId.MARK_STEP)
