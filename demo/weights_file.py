"""The trained weights as a file small enough for the repository."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from lseg_serve.model import LSeg
from lseg_serve.model.weights import save_weights

WEIGHTS = Path(__file__).parent / "weights" / "lseg-scenes.safetensors"


def save_compact(net: LSeg, path: Path) -> int:
    """Write `net` with its matrices in float16, which the loader turns back; returns the file's size in bytes.

    Vectors (biases, normalisations) stay float32: they are small, and running variances may leave float16's range.
    """
    copied = copy.deepcopy(net)
    for tensor in (*copied.parameters(), *copied.buffers()):
        if tensor.is_floating_point() and tensor.ndim > 1:
            tensor.data = tensor.data.to(torch.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(_without_counters(copied), copied.architecture, path)
    return path.stat().st_size


def _without_counters(net: LSeg) -> LSeg:
    """Batch norm's step counters are no floats, and evaluation has no use for them."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked = None
    return net
