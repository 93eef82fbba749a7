"""A report for people: one HTML file that holds everything it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; color: #1d2330 }
table { border-collapse: collapse; margin: .6rem 0 1.6rem } td, th { padding: .2rem .8rem .2rem 0; text-align: left }
td + td { font-variant-numeric: tabular-nums } tr { border-bottom: 1px solid #e4e6ea }
h2 { margin-top: 2rem } .row { display: flex; gap: 6px; flex-wrap: wrap } .row img { max-width: 24%; height: auto }
.warning { background: #fdeceb; border-left: 4px solid #c5221f; padding: .5rem .8rem } small { color: #596172 }
"""


@dataclass(frozen=True)
class Table:
    """A heading, a sentence about it, the columns' names, and the rows."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Images:
    """Images side by side, under a caption."""

    caption: str
    uris: Sequence[str]


def write_page(path: Path, title: str, warning: str, tables: Sequence[Table], worst: Sequence[Images]) -> None:
    """Write the report."""
    parts = [f"<h1>{escape(title)}</h1>"]
    if warning:
        parts.append(f'<p class="warning">{escape(warning)}</p>')
    parts += [_table(table) for table in tables]
    if worst:
        parts.append(
            "<h2>The worst images</h2><p><small>Image, ground truth, mask, mistakes (red; grey does not count)</small>"
        )
        parts += [_image_row(one) for one in worst]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    path.write_text(
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{"".join(parts)}</body></html>\n',
        encoding="utf-8",
    )


def _table(table: Table) -> str:
    header = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{escape(str(x))}</td>" for x in row) + "</tr>\n" for row in table.rows)
    note = f"<p><small>{escape(table.note)}</small></p>" if table.note else ""
    return f"<h2>{escape(table.title)}</h2>{note}<table><tr>{header}</tr>\n{rows}</table>\n"


def _image_row(row: Images) -> str:
    images = "".join(f'<img src="{uri}" alt="">' for uri in row.uris)
    return f'<p>{escape(row.caption)}</p><div class="row">{images}</div>\n'
