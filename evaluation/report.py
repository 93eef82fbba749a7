"""The report of an evaluation with one label set: figures, tables and a page to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lseg_serve.evaluation.comparison import comparison
from lseg_serve.evaluation.journal import Journal, Record, add_cells
from lseg_serve.evaluation.metrics import Counts, Metrics, measure
from lseg_serve.evaluation.page import Images, Table, write_page
from lseg_serve.evaluation.runner import Session
from lseg_serve.evaluation.samples import Sample
from lseg_serve.evaluation.tables import LABEL_HEADER, label_rows, latency, write_confusion, write_csv, write_json

_WORST = 8
_MASKS = "masks"


def total_confusion(records: Sequence[Record], count: int) -> Counts:
    """The confusion matrix of all records: [count, count + 1]."""
    confusion = np.zeros((count, count + 1), dtype=np.int64)
    for record in records:
        add_cells(confusion, record)
    return confusion


def failure_warning(records: Sequence[Record], total: int) -> str:
    """A sentence about what the figures do not cover; empty if they cover everything."""
    failed = sum(record.error is not None for record in records)
    missing = total - len(records)
    if not failed and not missing:
        return ""
    return f"These figures are incomplete: of {total} images {failed} failed and {missing} were not measured."


def write_report(
    folder: Path, title: str, samples: Sequence[Sample], journal: Journal, settings: Mapping[str, Any], session: Session
) -> dict[str, Any]:
    """Write everything below `folder` and return the summary that metrics.json holds."""
    labels = samples[0].names
    records = [journal.records[sample.name] for sample in samples if sample.name in journal.records]
    measured = [record for record in records if record.error is None]
    confusion = total_confusion(measured, len(labels))
    metrics = measure(confusion)
    summary = {
        "title": title,
        "images": len(measured),
        "failed": {record.name: {"status": record.status, "error": record.error} for record in records if record.error},
        "not_measured": len(samples) - len(records),
        **headline(metrics),
        "latency_ms": latency(measured),
        "last_session": {"images": session.images, "seconds": round(session.seconds, 1)},
        "settings": {key: value for key, value in settings.items() if key != "labels"},
    }
    rows = label_rows(labels, metrics)
    write_json(folder / "metrics.json", {**summary, "labels": [dict(zip(LABEL_HEADER, r, strict=True)) for r in rows]})
    write_csv(folder / "labels.csv", LABEL_HEADER, rows)
    write_confusion(folder / "confusion.csv", labels, confusion)
    write_csv(
        folder / "images.csv",
        ("image", "pixel_accuracy", "miou_present", "milliseconds", "status", "error"),
        [_image_row(record, len(labels)) for record in records],
    )
    tables = [
        Table("Figures", "", ("figure", "value"), headline_rows(summary)),
        Table("Latency", "Milliseconds, as a client saw it", ("", "ms"), list(summary["latency_ms"].items())),
        _label_table(rows, metrics),
    ]
    worst = _worst(samples, {record.name: record for record in measured}, len(labels), folder / _MASKS)
    write_page(folder / "report.html", title, failure_warning(records, len(samples)), tables, worst)
    return summary


def headline(metrics: Metrics) -> dict[str, Any]:
    """The figures of a whole label set."""
    return {
        "pixel_accuracy": metrics.pixel_accuracy,
        "miou_all": metrics.miou_all,
        "miou_present": metrics.miou_present,
        "mean_accuracy_all": metrics.mean_accuracy_all,
        "mean_accuracy_present": metrics.mean_accuracy,
        "frequency_weighted_iou": metrics.frequency_weighted_iou,
        "labels": len(metrics.iou),
        "labels_present": int(metrics.present.sum()),
    }


_NAMES = {
    "images": "images measured",
    "pixel_accuracy": "pixel accuracy",
    "miou_all": "mIoU over all labels (an absent one counts 0: ADE20K's official figure)",
    "miou_present": "mIoU over the labels that occur in the ground truth",
    "mean_accuracy_all": "mean accuracy over all labels",
    "mean_accuracy_present": "mean accuracy over the labels that occur",
    "frequency_weighted_iou": "frequency-weighted IoU",
    "labels": "labels",
    "labels_present": "labels that occur",
}


def headline_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures as rows for people: (name, value)."""
    return [(text, _shown(summary[key])) for key, text in _NAMES.items() if key in summary]


def _shown(value: float | int) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _label_table(rows: Sequence[Sequence[object]], metrics: Metrics) -> Table:
    """Labels from worst to best. Labels that do not occur cannot be judged and are only named."""
    order = sorted(np.flatnonzero(metrics.present).tolist(), key=lambda index: float(metrics.iou[index]))
    absent = [str(rows[index][1]) for index in np.flatnonzero(~metrics.present).tolist()]
    note = f"Not in the ground truth: {', '.join(absent)}." if absent else ""
    return Table("Labels, worst first", note, LABEL_HEADER, [rows[index] for index in order])


def _image_row(record: Record, count: int) -> tuple[object, ...]:
    metrics = measure(total_confusion([record], count))
    figures = ("", "") if record.error else (f"{metrics.pixel_accuracy:.6f}", f"{metrics.miou_present:.6f}")
    return record.name, *figures, record.milliseconds or "", record.status or "", record.error or ""


def _worst(samples: Sequence[Sample], records: Mapping[str, Record], count: int, masks: Path) -> list[Images]:
    """The images with the lowest pixel accuracy, each beside its ground truth, its mask and its mistakes."""
    judged = []
    for sample in samples:
        if sample.name in records and records[sample.name].cells:
            accuracy = measure(total_confusion([records[sample.name]], count)).pixel_accuracy
            judged.append((accuracy, sample.name, sample))
    judged.sort(key=lambda one: one[:2])
    return [
        Images(
            f"{name}: pixel accuracy {accuracy:.4f}; {_mistakes(sample.names, records[name])}",
            comparison(sample, masks / f"{name}.png"),
        )
        for accuracy, name, sample in judged[:_WORST]
    ]


def _mistakes(labels: Sequence[str], record: Record) -> str:
    """The confusions that cost the most pixels."""
    found = (*labels, "nothing")
    wrong = sorted((cell for cell in record.cells if cell[0] != cell[1]), key=lambda cell: -cell[2])
    return ", ".join(f"{labels[true]} taken for {found[column]}" for true, column, _ in wrong[:3]) or "no mistakes"
