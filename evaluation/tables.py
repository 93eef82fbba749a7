"""Figures as files: JSON for programs, CSV for spreadsheets."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lseg_serve.evaluation.journal import Record
from lseg_serve.evaluation.metrics import Counts, Metrics

PERCENTILES = (50, 90, 95, 99)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document as indented JSON."""
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def latency(records: Sequence[Record]) -> dict[str, float]:
    """Milliseconds from sending an image to having its mask, with all the other clients of this run at work."""
    times = [record.milliseconds for record in records if record.milliseconds is not None]
    if not times:
        return {}
    figures = {f"p{percent}": round(float(np.percentile(times, percent)), 1) for percent in PERCENTILES}
    return {"mean": round(float(np.mean(times)), 1), **figures, "max": max(times)}


LABEL_HEADER = ("index", "label", "iou", "accuracy", "precision", "true_pixels", "found_pixels")


def label_rows(labels: Sequence[str], metrics: Metrics) -> list[tuple[object, ...]]:
    """One row for each label, as in LABEL_HEADER."""
    return [
        (
            index,
            label,
            round(float(metrics.iou[index]), 6),
            round(float(metrics.accuracy[index]), 6),
            round(float(metrics.precision[index]), 6),
            int(metrics.true_pixels[index]),
            int(metrics.found_pixels[index]),
        )
        for index, label in enumerate(labels)
    ]


def write_confusion(path: Path, labels: Sequence[str], confusion: Counts) -> None:
    """The matrix with true labels down and labels found across."""
    write_csv(
        path,
        ["true \\ found", *labels, "(unlabelled)"],
        [[label, *row.tolist()] for label, row in zip(labels, confusion, strict=True)],
    )
