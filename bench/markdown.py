"""Cells and tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; none without a body."""
    lines = [f"| {' | '.join(cells)} |" for cells in body]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines, ""] if lines else []


def ms(value: float | None) -> str:
    """Whole milliseconds; empty for None."""
    return "" if value is None else f"{value:.0f}"


def ms_of_few(value: float | None) -> str:
    """Milliseconds with a decimal; empty for None."""
    return "" if value is None else f"{value:.1f}"


def ratio(value: float | None) -> str:
    """A ratio with two decimals; empty for None."""
    return "" if value is None else f"{value:.2f}"


def share(value: float | None) -> str:
    """A share of 1 in percent; empty for None."""
    return "" if value is None else f"{value:.2%}"


def difference(value: float | None) -> str:
    """A small number; empty for None."""
    return "" if value is None else f"{value:.1e}"
