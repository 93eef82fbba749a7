"""The mask alone, with mean scores and with thresholds, beside the plain mask: the bundled model at 12 megapixels."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import torch
from PIL import Image

from lseg_serve.bench.rows import Row
from lseg_serve.bench.scenes import CONFIG
from lseg_serve.bench.setting import PROJECT
from lseg_serve.bench.timing import interleaved
from lseg_serve.demo.weights_file import WEIGHTS
from lseg_serve.segmenter import Config, Segmenter
from lseg_serve.segmenter.masks.blending import blended_labels
from lseg_serve.segmenter.masks.mask import bucket_logits, make_mask, mask_by_strips

PLAIN = "png"
_SIZE = (4000, 3000)
_PICTURES = ("village", "front")
LABELS = (
    *("sky", "lawn", "street", "cottage", "sheep", "cow", "person", "tree", "mountain", "lake", "pink balloon"),
    *("boat", "other"),
)
# A threshold, and whether mean scores are asked for.
_WAYS = {
    PLAIN: (0.0, False),
    "json": (0.0, True),
    **{f"threshold {threshold}": (threshold, False) for threshold in (0.3, 0.5, 0.7, 0.9)},
    "json, threshold 0.5": (0.5, True),
}


def measure(runs: int) -> list[Row]:
    """A row for each picture and way, in turns, in one thread, whose own time other programs do not make longer.

    A mask with mean scores or a threshold is compared with the plain one, which computes the softmax of every pixel.
    """
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        segmenter = Segmenter.load(WEIGHTS, Config.from_file(CONFIG))
        return [row for picture in _PICTURES for row in _rows(segmenter, picture, runs)]
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)


def _rows(segmenter: Segmenter, picture: str, runs: int) -> list[Row]:
    with Image.open(PROJECT / "demo" / "pictures" / f"{picture}.jpg") as image:
        result = segmenter.segment(np.asarray(image.convert("RGB").resize(_SIZE)), LABELS)
    assert result.scores is not None, "they were asked for"
    logits = bucket_logits(result.scores, result.bucket, _SIZE[1], _SIZE[0])
    ways = {name: partial(make_mask, logits, threshold=one[0], with_scores=one[1]) for name, one in _WAYS.items()}
    times = interleaved(ways, runs)
    rows = []
    for name, (threshold, with_scores) in _WAYS.items():
        mask = ways[name]()
        plain = mask_by_strips(logits, blended_labels(logits), threshold=threshold, with_scores=with_scores)
        difference = None
        if mask.mean_scores is not None and plain.mean_scores is not None:
            difference = float(np.abs(mask.mean_scores - plain.mean_scores).max())
        rows.append(
            Row(
                scenario="masks",
                path="float32",
                where="process",
                labels=len(LABELS),
                image=f"{picture}, {_SIZE[0]}x{_SIZE[1]}",
                runs=runs,
                median_ms=1000 * float(np.median(times[name].cpu)),
                fastest_ms=1000 * min(times[name].cpu),
                max_difference=difference,
                agreement=float(np.mean(mask.indices == plain.indices)),
                note=name,
            )
        )
    return rows
