"""The plot of the results: how many times as fast as the naive path each precision is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lseg_serve.bench.rows import Row

_COLORS = {"float32": "#8da9c4", "bfloat16": "#2a6f97", "int8": "#e09f3e"}
_INK, _FAINT = "#22272e", "#8b949e"
_BAR = 0.26  # height of a bar; a case takes 1
_INCHES_PER_CASE, _INCHES_AROUND, _WIDTH = 0.78, 1.1, 8.6


def write_plot(cases: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Write `path` as SVG: a group of bars for each of `cases`, rows of the naive path and of each precision.

    The same rows give the same bytes: ids are hashes with a fixed salt, and the metadata has no date.
    """
    with mpl.rc_context({"svg.hashsalt": "lseg-serve", "svg.fonttype": "none", "font.size": 10, "text.color": _INK}):
        figure = Figure(figsize=(_WIDTH, _INCHES_AROUND + _INCHES_PER_CASE * len(cases)), layout="constrained")
        axes = figure.add_subplot()
        for place, rows in enumerate(cases.values()):
            _draw_case(axes, place, [row for row in rows if row.path != "naive"])
        _decorate(axes, [f"{name}\nnaive {_duration(rows)}" for name, rows in cases.items()])
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_case(axes: Axes, place: int, rows: Sequence[Row]) -> None:
    for index, row in enumerate(rows):
        ratio = row.ratio or 0.0
        height = place + (index - (len(rows) - 1) / 2) * _BAR
        label = row.path if place == 0 else None
        axes.barh(height, ratio, height=0.9 * _BAR, color=_COLORS.get(row.path, _FAINT), label=label, zorder=2)
        text = f" {ratio:.1f}x   {_duration([row])}"
        axes.text(ratio, height, text, va="center", fontsize=9, zorder=3)


def _decorate(axes: Axes, names: Sequence[str]) -> None:
    axes.axvline(1, color=_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as the naive path (dashed line)")
    axes.set_xlim(0, 1.2 * axes.get_xlim()[1])  # room for the text behind the longest bar
    axes.xaxis.grid(visible=True, color="#e6e8eb", zorder=0)
    axes.tick_params(length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(_COLORS), frameon=False)


def _duration(rows: Sequence[Row]) -> str:
    """The time of the first of `rows`."""
    milliseconds = rows[0].median_ms if rows else None
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
