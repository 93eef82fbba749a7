"""The linear layers by MKL and by oneDNN, in the same network and in turns: time beside error, one thread and two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lseg_serve.bench.engines import compared
from lseg_serve.bench.rows import Row
from lseg_serve.bench.setting import labels, photo_at
from lseg_serve.bench.timing import interleaved, torch_threads
from lseg_serve.model import LSeg
from lseg_serve.model.fusion import upsample
from lseg_serve.segmenter import Bucket, resize_to_bucket

_SIDE = 480
_LABELS = 20
PLAIN = "torch's choice"  # the way that the others are compared with
ONEDNN = "oneDNN"
ATTENTION = "oneDNN, attention by products"


@torch.no_grad()
def measure(checkpoint: Path, runs: int, numbers: Sequence[int] = (1, 2)) -> list[Row]:
    """A row for each precision, way and one of the `numbers` of threads: a 480x480 image to the features.

    Differences are of logits, against the plain network in float32.
    """
    pixels = resize_to_bucket(photo_at(_SIDE, _SIDE).pixels, Bucket(_SIDE, _SIDE))[None]
    names = labels(_LABELS)
    exact = LSeg.from_checkpoint(checkpoint)
    text = exact.encode_labels(names)[None]
    expected = _logits(exact, pixels, text)
    rows: list[Row] = []
    for precision in ("float32", "bfloat16"):
        nets = _ways(checkpoint, precision)
        accuracy = {name: compared(_logits(net, pixels, text), expected) for name, net in nets.items()}
        for threads in numbers:
            calls: dict[str, Callable[[], object]] = {
                name: partial(net.image_features, pixels) for name, net in nets.items()
            }
            with torch_threads(threads):
                times = interleaved(calls, runs)
            for name, own in times.items():
                error = accuracy[name]
                rows.append(
                    Row(
                        scenario="products",
                        path=precision,
                        where="process",
                        labels=_LABELS,
                        image=f"{_SIDE}x{_SIDE}",
                        ratio=times[PLAIN].median / own.median,
                        max_difference=error.max_difference,
                        agreement=error.agreement,
                        note=f"{name}; {threads} thread{'' if threads == 1 else 's'}",
                        **own.columns(),  # type: ignore[arg-type]
                    )
                )
    return rows


def _ways(checkpoint: Path, precision: str) -> dict[str, LSeg]:
    """The network of `checkpoint` in `precision`, once for each way."""
    nets = {PLAIN: _net(checkpoint, precision), ONEDNN: _net(checkpoint, precision)}
    nets[ONEDNN].multiply_by_onednn()
    if precision == "bfloat16":
        nets[ATTENTION] = _net(checkpoint, precision)
        nets[ATTENTION].multiply_by_onednn()
        nets[ATTENTION].attend_by_products()
    return nets


def _net(checkpoint: Path, precision: str) -> LSeg:
    return LSeg.from_checkpoint(checkpoint).set_precision(getattr(torch, precision))


def _logits(net: LSeg, pixels: Tensor, text: Tensor) -> Tensor:
    return upsample(net.score_features(net.image_features(pixels), text), (_SIDE, _SIDE))
