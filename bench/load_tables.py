"""The tables of servers under load."""

from __future__ import annotations

from collections.abc import Sequence

from lseg_serve.bench.markdown import ms, table
from lseg_serve.bench.rows import Row
from lseg_serve.bench.soak_samples import NAMES, Sample, after_warm_up, trends_of


def workers_table(rows: Sequence[Row]) -> list[str]:
    """Full-size models: workers, clients and images."""
    body = [
        (
            row.path,
            row.image,
            str(row.workers),
            str(row.clients),
            "" if row.images_per_s is None else f"{row.images_per_s:.2f}",
            f"{ms(row.median_ms)} / {ms(row.p90_ms)}",
            "" if row.cpu_s is None else f"{row.cpu_s:.1f}",
            "" if row.unique_mb is None else f"{row.unique_mb:.0f}",
            "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
            "" if row.ready_s is None else f"{row.ready_s:.0f}",
        )
        for row in rows
        if row.seconds is None
    ]
    head = (
        "precision",
        "image",
        "workers",
        "clients",
        "images/s",
        "ms, median / p90",
        "CPU s per image",
        "own MB of a worker at rest",
        "peak MB",
        "s until ready",
    )
    return table(head, body)


def clients_table(rows: Sequence[Row]) -> list[str]:
    """Clients that wait for their answers, and requests at a rate of their own."""
    body = [
        (
            f"{row.note}, {_who(row)}",
            f"{row.images_per_s:.1f}",
            " / ".join(map(ms, (row.median_ms, row.p90_ms, row.p99_ms, row.slowest_ms))),
            f"{row.refused / row.seconds:.1f}",
            ms(row.refusal_ms),
            str(row.wrong),
            str(row.failed),
        )
        for row in rows
        if row.seconds is not None and row.images_per_s is not None and row.refused is not None
    ]
    head = (
        "bundled model, 640x480, 20 labels",
        "masks/s",
        "ms, median / p90 / p99 / slowest",
        "refused/s",
        "slowest refusal, ms",
        "wrong masks",
        "other answers",
    )
    return table(head, body)


def soak_table(samples: Sequence[Sample]) -> list[str]:
    """Each process at the first counted minute, at the last one and at its highest, and how it changed."""
    counted = after_warm_up(samples)
    body = []
    for name in dict.fromkeys(sample.process for sample in counted):
        own = [sample for sample in counted if sample.process == name]
        trends = trends_of(own)
        for quantity, trend in trends.items():
            values = [float(getattr(sample, quantity)) for sample in own]
            first, last, highest = (f"{value:.0f}" for value in (values[0], values[-1], max(values)))
            change = f"{trend.change:+.1f} ({'flat' if trend.is_flat else 'not flat'}, bound {trend.bound:.0f})"
            body.append((f"{name}, {NAMES[quantity]}", first, last, highest, change))
    if not counted:
        return []
    span = f"{samples[-1].minute:.0f} minutes, {samples[-1].requests} requests, {samples[-1].failed} failed"
    head = (span, f"minute {counted[0].minute:.0f}", "end", "highest", "line of best fit, start to end")
    return table(head, body)


def _who(row: Row) -> str:
    if row.offered_per_s is not None:
        return f"{row.offered_per_s:.0f} requests a second"
    return f"{row.clients} client{'' if row.clients == 1 else 's'}"
