"""The estimate of a request's cost beside what it takes: the bundled model, in one thread of this process."""

from __future__ import annotations

import time

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from lseg_serve.bench.rows import Row
from lseg_serve.bench.scenes import CONFIG
from lseg_serve.bench.setting import photo_at
from lseg_serve.demo.weights_file import WEIGHTS
from lseg_serve.segmenter import Config, Job, Segmenter, Work

# Width, height, labels, mode, and whether a softmax is asked for, as JSON and a threshold do.
_REQUESTS = (
    (640, 480, 20, "fast", False),
    (640, 480, 255, "fast", True),
    (4000, 3000, 20, "fast", False),
    (4000, 3000, 150, "fast", False),
    (4000, 3000, 150, "fast", True),
    (65535, 976, 20, "fast", True),
    (1, 1, 255, "accurate", True),
    (640, 480, 20, "accurate", False),
    (640, 480, 255, "accurate", True),
    (4000, 3000, 20, "accurate", False),
    (4000, 3000, 150, "accurate", False),
    (65535, 100, 255, "accurate", False),
    (976, 8000, 150, "accurate", True),
)


def measure() -> list[Row]:
    """A row for each request, made once. One thread's own time counts, which other programs do not make longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        segmenter = Segmenter.load(WEIGHTS, Config.from_file(CONFIG).replaced(feature_cache_megabytes=0))
        segmenter.warm_up()
        return [_row(segmenter, *request) for request in tqdm(_REQUESTS, desc="requests", disable=None, leave=False)]
    finally:
        torch.set_num_threads(threads)


def _row(segmenter: Segmenter, width: int, height: int, labels: int, mode: str, softmax: bool) -> Row:
    text = segmenter.encode_labels([f"label {number}" for number in range(labels)])
    image = np.asarray(Image.fromarray(photo_at(640, 480).pixels).resize((width, height)))
    job = Job(image, text, with_scores=softmax, with_score_map=False, mode=mode)
    start, start_cpu = time.perf_counter(), time.process_time()
    segmenter.segment_batch([job])
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    assert segmenter.costs is not None, "warm-up has measured the rates"
    estimate = segmenter.costs.seconds(Work(height, width, labels, mode, softmax))
    return Row(
        scenario="cost",
        path="float32",
        where="process",
        mode=mode,
        labels=labels,
        image=f"{width}x{height}",
        runs=1,
        median_ms=1000 * wall,
        cpu_s=cpu,
        estimate_ms=1000 * estimate,
        note="softmax" if softmax else "",
    )
