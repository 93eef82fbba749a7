"""Metrics written to a file, when the environment asks for it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from habana_frameworks.torch.hpu.metrics.metric import Metric
from habana_frameworks.torch.simulated.device import DEVICE
from habana_frameworks.torch.utils.event_dispatcher import EventDispatcher, EventId


class MetricDumpFormat(Enum):
    """How a file of metrics is written."""

    json = "json"
    text = "text"


class Saver:
    """Writes the metrics when one of the triggers in PT_HPU_METRICS_DUMP_TRIGGERS happens."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics
        self._name = os.environ.get("PT_HPU_METRICS_FILE") or os.environ.get("HABANA_PT_METRICS_FILE")
        self._format = MetricDumpFormat(os.environ.get("PT_HPU_METRICS_FILE_FORMAT", "json"))
        self._triggers = os.environ.get("PT_HPU_METRICS_DUMP_TRIGGERS", "process_exit").split(",")
        self._records: list[dict[str, object]] = []
        if self._name and "mark_step" in self._triggers:
            EventDispatcher.instance().subscribe(EventId.MARK_STEP, lambda *_: self._note(self._metrics, "mark_step"))
        if self._name and "metric_change" in self._triggers:
            for metric in metrics:
                metric.on_metric_change(lambda *_, metric=metric: self._note([metric], "metric_change"))

    def _note(self, metrics: Sequence[Metric], trigger: str) -> None:
        self._records += _records(metrics, trigger)

    def at_exit(self) -> None:
        """Write the file at the end of the process, unless the card was never used."""
        if self._name is None or not DEVICE.acquired:
            return
        if "process_exit" in self._triggers:
            self._note(self._metrics, "process_exit")
        _write(self._records, _free_name(self._name), self._format)


def dump(metrics: Sequence[Metric], file_name: str, form: MetricDumpFormat, trigger: str) -> None:
    """Write `metrics` to `file_name` as they stand."""
    _write(_records(metrics, trigger), Path(file_name), form)


def _records(metrics: Sequence[Metric], trigger: str) -> list[dict[str, object]]:
    return [
        {
            "metric_name": metric.name(),
            "triggered_by": trigger,
            "generated_on": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "statistics": dict(metric.stats()),
        }
        for metric in metrics
    ]


def _write(records: list[dict[str, object]], path: Path, form: MetricDumpFormat) -> None:
    lines = [f"{key}: {value}" for record in records for key, value in record.items()]
    text = json.dumps(records, indent=2) if form is MetricDumpFormat.json else "\n".join(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def _free_name(name: str) -> Path:
    """The name with the rank in it where several processes work together, and a number where the file exists."""
    path = Path(name)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        path = path.with_name(f"{path.stem}-rank{os.environ.get('RANK', '0')}{path.suffix}")
    free, number = path, 0
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
