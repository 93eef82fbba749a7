"""Where the network's time goes, operator by operator, for each precision."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from lseg_serve.bench.rows import RESULTS
from lseg_serve.bench.setting import Setting, labels, photo_at
from lseg_serve.segmenter import Bucket, resize_to_bucket

_SIDE = 480
_RUNS = 3
_LEAST_SHARE = 0.005


@torch.no_grad()
def measure(setting: Setting, folder: Path = RESULTS) -> Path:
    """Write operators.csv: milliseconds of each operator in one pass over a 480x480 image with 20 encoded labels."""
    pixels = resize_to_bucket(photo_at(_SIDE, _SIDE).pixels, Bucket(_SIDE, _SIDE))[None]
    lines: list[tuple[str, str, str, int]] = []
    for name, segmenter in setting.segmenters().items():
        net = segmenter.net
        text = net.encode_labels(labels(20))[None]
        net.score_features(net.image_features(pixels), text)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(_RUNS):
                net.score_features(net.image_features(pixels), text)
        events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
        whole = sum(event.self_cpu_time_total for event in events)
        lines += [
            (name, event.key, f"{event.self_cpu_time_total / _RUNS / 1000:.1f}", event.count // _RUNS)
            for event in events
            if event.self_cpu_time_total > _LEAST_SHARE * whole
        ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "operators.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("precision", "operator", "ms", "calls"))
        writer.writerows(lines)
    return path
