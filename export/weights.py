"""A network's weights as a worker wants them: folded, in one precision, nothing in them that serving does not use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from lseg_serve.export.smoothquant import smooth
from lseg_serve.model import LSeg
from lseg_serve.model.folding import fold_batch_norm
from lseg_serve.model.int8 import quantize_layers


def prepare(net: LSeg, precision: torch.dtype, calibration: Iterable[Tensor] = ()) -> LSeg:
    """`net` with its batch norms folded and its image side in `precision`, in place.

    int8 needs `calibration`: a few images [1, 3, H, W] in -1..1 of the kind that will be served, which show the
    transformer's channels their ranges.
    """
    fold_batch_norm(net)
    net.architecture = replace(net.architecture, batch_norm=False)
    if precision == torch.int8:
        smooth(net, calibration)
        quantize_layers(net)
        net.architecture = replace(net.architecture, int8=True)
    return net.set_precision(precision)
