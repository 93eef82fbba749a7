"""The network alone, in this process: the naive path and every precision in turns, with new and with cached images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lseg_serve.bench.flops import Work, counted
from lseg_serve.bench.machine import Machine
from lseg_serve.bench.rows import Row
from lseg_serve.bench.setting import Setting, labels, photo_at
from lseg_serve.bench.timing import interleaved
from lseg_serve.model import LSeg
from lseg_serve.model.fusion import upsample
from lseg_serve.segmenter import Bucket, resize_to_bucket

_SIDE = 480
_LABELS = 20


@dataclass(frozen=True)
class Accuracy:
    """How far one path's logits are from another's."""

    max_difference: float
    agreement: float


def compared(found: Tensor, expected: Tensor) -> Accuracy:
    """The largest difference of a logit [B, K, H, W], and the share of pixels with the same label."""
    same = (found.argmax(dim=1) == expected.argmax(dim=1)).float().mean()
    return Accuracy(float((found - expected).abs().max()), float(same))


@torch.no_grad()
def measure(setting: Setting, machine: Machine, runs: int) -> list[Row]:
    """Rows of a 480x480 image with 20 labels: the naive path and each precision, then new labels on cached features."""
    naive, nets = setting.naive(), {name: each.net for name, each in setting.segmenters().items()}
    names = labels(_LABELS)
    pixels = resize_to_bucket(photo_at(_SIDE, _SIDE).pixels, Bucket(_SIDE, _SIDE))[None]
    text = next(iter(nets.values())).encode_labels(names)[None]
    cached = {name: net.image_features(pixels) for name, net in nets.items()}
    ways: dict[str, Callable[[], object]] = {"naive": lambda: naive.logits(pixels, names)}
    for name, net in nets.items():
        ways[name] = lambda net=net: _logits(net, net.image_features(pixels), text)  # type: ignore[misc]
        ways[f"{name} cached"] = lambda net=net, name=name: _new_labels(net, cached[name])  # type: ignore[misc]
    times = interleaved(ways, runs)
    expected = naive.logits(pixels, names)
    naive_work = counted(lambda: naive.logits(pixels, names))
    common = {"where": "process", "labels": _LABELS, "image": f"{_SIDE}x{_SIDE}"}
    rows = [_row(times["naive"].columns(), "network", "naive", common, 1.0, naive_work, machine, None)]
    for name, net in nets.items():
        accuracy = compared(_logits(net, cached[name], text), expected)
        ratio = times["naive"].median / times[name].median
        work = counted(lambda net=net: net.image_features(pixels), net)  # type: ignore[misc]
        rows.append(_row(times[name].columns(), "network", name, common, ratio, work, machine, accuracy))
        again = times[f"{name} cached"]
        ratio = times["naive"].median / again.median
        rows.append(
            _row(
                again.columns(),
                "new words",
                name,
                {**common, "text": "cold", "features": "warm"},
                ratio,
                None,
                machine,
                None,
            )
        )
    return rows


def _logits(net: LSeg, features: Tensor, text: Tensor) -> Tensor:
    return upsample(net.score_features(features, text), (_SIDE, _SIDE))


_calls = 0


def _new_labels(net: LSeg, features: Tensor) -> Tensor:
    """Logits of labels that were never encoded before, from `features` that are there already."""
    global _calls
    _calls += 1
    return _logits(net, features, net.encode_labels(labels(_LABELS, f"number {_calls}"))[None])


def _row(
    columns: dict[str, float | int],
    scenario: str,
    path: str,
    common: dict[str, object],
    ratio: float,
    work: Work | None,
    machine: Machine,
    accuracy: Accuracy | None,
) -> Row:
    values: dict[str, object] = {**columns, **common, "scenario": scenario, "path": path, "ratio": ratio}
    if work is not None:
        kind = "bfloat16" if path == "bfloat16" else "float32"
        least = work.float_gflop / machine.rate(kind) + work.int8_gflop / machine.rate("int8")
        values |= {"gflop": work.float_gflop + work.int8_gflop, "roofline_ms": 1000 * least}
    if accuracy is not None:
        values |= {"max_difference": accuracy.max_difference, "agreement": accuracy.agreement}
    return Row(**values)  # type: ignore[arg-type]
