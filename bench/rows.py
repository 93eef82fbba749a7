"""What was measured: one flat row for each, kept as CSV in `bench/results/`."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One measurement. A column that does not apply is None. Times are milliseconds, memory is 10^6 bytes."""

    scenario: str
    path: str  # naive, or the precision that was served
    where: str  # process, endpoint
    mode: str = "fast"
    labels: int = 20
    image: str = "640x480"  # width x height
    workers: int = 1
    clients: int = 1
    text: str = "warm"  # warm: the labels' embeddings were cached; cold: they were not
    features: str = "cold"  # warm: a feature cache hit, which skips the network; cold: a new image
    runs: int = 0
    median_ms: float | None = None
    p90_ms: float | None = None
    fastest_ms: float | None = None
    # Medians by the worker's own clock. The rest of a request is the server, the HTTP exchange and the PNG.
    decode_ms: float | None = None  # the image file to pixels
    text_ms: float | None = None  # labels to embeddings
    network_ms: float | None = None  # pixels to scores, with the image's hash and its resize to the bucket
    mask_ms: float | None = None  # scores to the mask, with lang-seg's last resize
    embed_ms: float | None = None  # features to embeddings, in the place of a mask
    overhead_ms: float | None = None  # all that a request took except its own network_ms
    ratio: float | None = None  # naive median / this median, of the same interleaved run
    images_per_s: float | None = None
    cpu_s: float | None = None  # processor seconds per image, of the worker or of this process
    peak_mb: float | None = None  # highest resident memory
    unique_mb: float | None = None  # private to one worker, at rest
    ready_s: float | None = None  # from the start of the server to a ready worker, warm-up included
    response_mb: float | None = None  # of the body
    max_difference: float | None = None  # of any score, against the naive path's; scores lie within +-14.3
    agreement: float | None = None  # share of pixels with the naive path's label
    miou: float | None = None  # percent, where the weights mean something
    gflop: float | None = None  # counted, of one image
    roofline_ms: float | None = None  # the least time those take at the measured rate of matrix products
    estimate_ms: float | None = None  # of one thread's own time, before the request is computed
    # Of clients by the clock.
    seconds: float | None = None  # from the first request to the last answer
    offered_per_s: float | None = None  # requests sent a second, whatever comes; None: clients wait for answers
    p99_ms: float | None = None
    slowest_ms: float | None = None
    refused: int | None = None  # requests answered with 503 or 429
    refusal_ms: float | None = None  # the slowest of those answers
    wrong: int | None = None  # masks that were not the right one
    failed: int | None = None  # requests with any other answer, or none
    note: str = ""


def write_rows(rows: Iterable[Row], name: str, folder: Path = RESULTS) -> Path:
    """Write `rows` to `name`.csv, numbers with at most 5 significant digits; an older file is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _text(value) for key, value in asdict(row).items()})
    return path


def read_rows(name: str, folder: Path = RESULTS) -> list[Row]:
    """The rows of `name`.csv; none where there is no such file."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    types = get_type_hints(Row)
    with path.open(newline="", encoding="utf-8") as file:
        return [Row(**{key: _value(text, types[key]) for key, text in line.items()}) for line in csv.DictReader(file)]


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _value(text: str, kind: object) -> Any:
    if kind is str:
        return text
    if kind is int or (kind == int | None and text):
        return int(text)
    return float(text) if text else None
