"""Writes the Grafana dashboard beside this file: `python deploy/watching/make_dashboard.py`.

It needs grafana-foundation-sdk, which the extra `dev` brings. Grafana imports dashboard.json as it is.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from string import ascii_uppercase

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

FILE = Path(__file__).with_name("dashboard.json")
# Grafana asks for the data source, and for the servers that are shown.
_SOURCE = DataSourceRef(type_val="prometheus", uid="$source")
_HERE = 'instance=~"$instance"'
_WINDOW = "[$__rate_interval]"


@dataclass(frozen=True)
class Chart:
    """One panel: its queries by legend, and the unit of its axis as Grafana names it."""

    title: str
    unit: str
    queries: dict[str, str]
    description: str = ""


def _rate(metric: str, by: str = "", where: str = "") -> str:
    selector = ", ".join(part for part in (_HERE, where) if part)
    return (
        f"sum by ({by}) (rate({metric}{{{selector}}}{_WINDOW}))"
        if by
        else f"sum(rate({metric}{{{selector}}}{_WINDOW}))"
    )


def _quantiles(metric: str, by: str = "", where: str = "") -> dict[str, str]:
    labels = f"le, {by}" if by else "le"
    prefix = f"{{{{{by}}}}} " if by else ""
    return {
        f"{prefix}{name}": f"histogram_quantile({quantile}, {_rate(f'{metric}_bucket', labels, where)})"
        for name, quantile in (("median", 0.5), ("p95", 0.95))
    }


def _hits(cache: str) -> str:
    hits, misses = _rate(f"LSeg{cache}CacheHits"), _rate(f"LSeg{cache}CacheMisses")
    return f"{hits} / ({hits} + {misses})"


_SECONDS_IN_SERVER = f"{_rate('ts_inference_latency_microseconds')} / 1e6"

ROWS: dict[str, list[Chart]] = {
    "Requests": [
        Chart(
            "Requests by status and error", "reqps", {"{{Status}} {{Error}}": _rate("LSegRequests", "Status, Error")}
        ),
        Chart(
            "Seconds in the worker",
            "s",
            {
                **_quantiles("LSegRequestSeconds"),
                "mean in the server": f"{_SECONDS_IN_SERVER} / {_rate('ts_inference_requests_total')}",
            },
            "Time in the worker by its histogram; the mean from arrival to response as TorchServe measures it.",
        ),
        Chart(
            "Requests in the server",
            "short",
            {
                "waiting": f"{_rate('ts_queue_latency_microseconds')} / 1e6",
                "waiting or computed": _SECONDS_IN_SERVER,
                "in worker {{Worker}} now": f"sum by (Worker) (LSegRequestsInFlight{{{_HERE}}})",
            },
            "The first two are means by Little's law: TorchServe tells how long requests waited, not how many wait.",
        ),
        Chart(
            "Responses of TorchServe by status, all ports",
            "reqps",
            {kind: f"{_rate(f'Requests{kind}')} or vector(0)" for kind in ("2XX", "4XX", "5XX")},
            "What TorchServe refuses itself, such as 503 for a full queue, is here alone.",
        ),
    ],
    "Work": [
        Chart("Stages, median and 95th percentile", "s", _quantiles("LSegStageSeconds", "Stage")),
        Chart("Share of time that workers compute", "percentunit", {"{{Worker}}": _rate("LSegBusySeconds", "Worker")}),
        Chart(
            "Batch fill",
            "percentunit",
            {"requests of slots": f"{_rate('LSegBatchRequests')} / {_rate('LSegBatchSlots')}"},
        ),
        Chart("Labels in a request", "short", _quantiles("LSegRequestLabels")),
    ],
    "Network": [
        Chart("Cache hits", "percentunit", {"text": _hits("Text"), "features": _hits("Feature")}),
        Chart("Images by bucket", "ops", {"{{Bucket}}": _rate("LSegBucketImages", "Bucket")}),
        Chart(
            "Padding",
            "percentunit",
            {"{{Kind}}": f"1 - {_rate('LSegNetworkUsed', 'Kind')} / {_rate('LSegNetworkSlots', 'Kind')}"},
            "The share of what was computed that nobody asked for: black images, empty labels and texts.",
        ),
        Chart(
            "Memory",
            "decmbytes",
            {
                "worker {{Worker}}": f"max by (Worker) (LSegWorkerMemory{{{_HERE}}})",
                "features in {{Worker}}": f"max by (Worker) (LSegFeatureCacheMemory{{{_HERE}}})",
                "{{Device}} used": f"max by (Device) (LSegDeviceMemoryUsed{{{_HERE}}})",
                "{{Device}} free": f"max by (Device) (LSegDeviceMemoryFree{{{_HERE}}})",
            },
        ),
    ],
    "Gaudi": [
        Chart(
            "Graphs compiled after warm-up, and operators left to the host",
            "short",
            {
                "{{Device}} graphs": f"sum by (Device) (increase(LSegLateGraphCompilations{{{_HERE}}}{_WINDOW}))",
                "{{Device}} fallbacks": f"sum by (Device) (increase(LSegCpuFallbacks{{{_HERE}}}{_WINDOW}))",
            },
        ),
        Chart(
            "Graphs that warm-up did not reach", "short", {"{{Device}}": f"max by (Device) (LSegColdGraphs{{{_HERE}}})"}
        ),
    ],
}


def make_dashboard() -> str:
    """The dashboard as JSON."""
    built = (
        dashboard.Dashboard("LSeg")
        .uid("lseg")
        .tags(["lseg"])
        .refresh("30s")
        .time("now-1h", "now")
        .with_variable(dashboard.DatasourceVariable("source").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("instance")
            .datasource(_SOURCE)
            .query("label_values(LSegRequests, instance)")
            .multi(True)
            .include_all(True)
        )
    )
    numbers = count(1)
    for title, charts in ROWS.items():
        built = built.with_row(dashboard.Row(title).id(next(numbers)))
        for chart in charts:
            built = built.with_panel(_panel(chart).id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _panel(chart: Chart) -> timeseries.Panel:
    panel = timeseries.Panel().title(chart.title).unit(chart.unit).min(0).height(8).span(12).datasource(_SOURCE)
    if chart.description:
        panel = panel.description(chart.description)
    for letter, (legend, query) in zip(ascii_uppercase, chart.queries.items(), strict=False):
        target = prometheus.Dataquery().expr(query).legend_format(legend).ref_id(letter)
        panel = panel.with_target(target.datasource(_SOURCE))
    return panel


if __name__ == "__main__":
    FILE.write_text(make_dashboard(), encoding="utf-8")
    sys.stdout.write(f"{FILE}\n")
