"""The results as the README shows them: tables between its two markers, and a plot beside the CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from lseg_serve.bench import machine
from lseg_serve.bench.machine import Machine
from lseg_serve.bench.rows import RESULTS, Row, read_rows
from lseg_serve.bench.setting import PROJECT

README = PROJECT / "README.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
_PLOT = "speed.svg"
_BAR, _GAP, _LEFT, _WIDTH = 18, 8, 250, 760  # pixels
_COLORS = {"naive": "#9aa0a6", "float32": "#4285f4", "bfloat16": "#34a853", "int8": "#ea4335"}


def write(results: Path = RESULTS, readme: Path = README) -> str:
    """Put the tables of `results` between the markers of `readme`, write the plot, and return the tables.

    Raises:
        ValueError: the README lacks a marker.
    """
    tables = as_markdown(machine.load(results), results)
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme}: there is no {BEGIN} followed by {END}")
    readme.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}", encoding="utf-8")
    (results / _PLOT).write_text(as_svg(_plotted(results)), encoding="utf-8")
    return tables


def as_markdown(measured: Machine, results: Path) -> str:
    """Every table that there are results for."""
    features = ", ".join(feature.replace("_", " ") for feature in measured.features)
    lines = [
        f"{measured.processor}, {measured.cores} cores ({features}), torch {measured.versions['torch']}; matrix "
        f"products run at {measured.gemm_float32:.0f} GFLOP/s in float32, {measured.gemm_bfloat16:.0f} in bfloat16 and "
        f"{measured.gemm_int8:.0f} Gop/s in int8.",
        "",
        f"![Times beside the naive path](bench/results/{_PLOT})",
        "",
    ]
    lines += _network_table(read_rows("network", results))
    lines += _endpoint_table([*read_rows("endpoint", results), *read_rows("accurate", results)])
    lines += _stage_table([*read_rows("overhead", results), *read_rows("endpoint", results)])
    lines += _load_table(read_rows("load", results))
    lines += _scenes_table(read_rows("scenes", results))
    return "\n".join(lines).rstrip()


def _network_table(rows: Sequence[Row]) -> list[str]:
    body = [
        (
            row.path if row.scenario == "network" else f"{row.path}, 20 new words on a known image",
            _ms(row.median_ms),
            _ratio(row.ratio),
            "" if row.gflop is None else f"{row.gflop:.0f}",
            "" if row.roofline_ms is None or row.median_ms is None else f"{row.roofline_ms / row.median_ms:.0%}",
            _difference(row.max_difference),
            _share(row.agreement),
        )
        for row in rows
    ]
    head = ("network, 480x480, 20 labels", "ms", "times naive", "Gop", "of roofline", "max difference", "same label")
    return _table(head, body)


def _endpoint_table(rows: Sequence[Row]) -> list[str]:
    cases = dict.fromkeys(_case(row) for row in rows)
    paths = [path for path in _COLORS if any(row.path == path for row in rows)]
    body = []
    for case in cases:
        found = {row.path: row for row in rows if _case(row) == case}
        mode, image, *_ = case
        cells = [f"{mode}, {image}, {_described(next(iter(found.values())))}"]
        cells += [_ms(found[path].median_ms) + _in_words(found[path]) if path in found else "" for path in paths]
        body.append(tuple(cells))
    return _table(("endpoint, ms", *paths), body)


def _stage_table(rows: Sequence[Row]) -> list[str]:
    """Where a request's time goes, at 640x480."""
    body = []
    for row in rows:
        stages = (row.decode_ms, row.text_ms, row.network_ms, row.mask_ms)
        if row.image != "640x480" or row.median_ms is None or None in stages:
            continue
        rest = row.median_ms - sum(stage for stage in stages if stage is not None)
        name = f"{row.note or row.path}, {_described(row)}"
        besides = "" if row.besides_ms is None else _ms_of_few(row.besides_ms)
        body.append((name, *(_ms_of_few(stage) for stage in stages), _ms_of_few(rest), _ms(row.median_ms), besides))
    stage_names = ("decode", "text", "network", "mask", "server, request, PNG", "all, ms", "all but the network")
    return _table(("where the time goes, 640x480", *stage_names), body)


def _described(row: Row) -> str:
    words = f"{row.labels} {'new ' if row.text == 'cold' else ''}label{'' if row.labels == 1 else 's'}"
    return f"{words}{', known image' if row.features == 'warm' else ''}"


def _case(row: Row) -> tuple[str, str, int, str, str]:
    return row.mode, row.image, row.labels, row.text, row.features


def _in_words(row: Row) -> str:
    return "" if row.path == "naive" or row.ratio is None else f" ({row.ratio:.2f}x)"


def _load_table(rows: Sequence[Row]) -> list[str]:
    body = [
        (
            row.path,
            row.image,
            str(row.workers),
            str(row.clients),
            "" if row.images_per_s is None else f"{row.images_per_s:.2f}",
            f"{_ms(row.median_ms)} / {_ms(row.p90_ms)}",
            "" if row.cpu_s is None else f"{row.cpu_s:.1f}",
            "" if row.unique_mb is None else f"{row.unique_mb:.0f}",
            "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
            "" if row.ready_s is None else f"{row.ready_s:.0f}",
        )
        for row in rows
    ]
    head = (
        "precision",
        "image",
        "workers",
        "clients",
        "images/s",
        "ms, median / p90",
        "CPU s an image",
        "MB of its own at rest, a worker",
        "peak MB",
    )
    return _table((*head, "s until ready"), body)


def _scenes_table(rows: Sequence[Row]) -> list[str]:
    body = [
        (
            row.path,
            "" if row.miou is None else f"{row.miou:.2f}",
            _share(row.agreement),
            _difference(row.max_difference),
        )
        for row in rows
    ]
    count = rows[0].image if rows else ""
    return _table((f"bundled model, {count}", "mIoU, %", "same label as float32", "max difference"), body)


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in body]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines, ""] if lines else []


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _ms_of_few(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _difference(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _plotted(results: Path) -> list[Row]:
    """What the plot shows: the network, and the endpoint with 20 known labels."""
    network = [row for row in read_rows("network", results) if row.scenario == "network"]
    served = [
        row
        for row in read_rows("endpoint", results)
        if row.labels == 20 and (row.text, row.features) == ("warm", "cold")
    ]
    return [*network, *served, *read_rows("accurate", results)]


def as_svg(rows: Sequence[Row]) -> str:
    """A bar for each row, as long as its share of the naive path's time, the milliseconds and the ratio behind it."""
    height = len(rows) * (_BAR + _GAP) + _GAP
    room = _WIDTH - _LEFT - 150
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for index, row in enumerate(rows):
        top = _GAP + index * (_BAR + _GAP)
        length = room / (row.ratio or 1)
        color = _COLORS.get(row.path, "#000")
        name = escape(f"{row.scenario}, {row.mode}, {row.image}: {row.path}")
        value = f"{_ms(row.median_ms)} ms, {_ratio(row.ratio)}x"
        parts += [
            f'<text x="{_LEFT - 6}" y="{top + 13}" text-anchor="end">{name}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{color}"/>',
            f'<text x="{_LEFT + length + 6:.1f}" y="{top + 13}">{value}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
