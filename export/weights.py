"""A network's weights as a worker wants them: folded, in one precision, nothing in them that serving does not use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from model import LSeg
from model.checkpoint import ARCHITECTURE_KEY
from model.folding import fold_batch_norm
from model.keys import langseg_key


def prepare(net: LSeg, precision: torch.dtype) -> LSeg:
    """`net` with its batch norms folded and its image side in `precision`, in place."""
    fold_batch_norm(net)
    net.architecture = replace(net.architecture, batch_norm=False)
    return net.set_precision(precision)


def save_weights(net: LSeg, path: Path) -> int:
    """Write the tensors of `net` under lang-seg's keys, with the architecture; returns the count of their elements.

    CLIP's image tower and timm's head are not in the network to begin with, so they are not written.
    """
    tensors = {langseg_key(name): tensor.contiguous() for name, tensor in sorted(net.state_dict().items())}
    save_file(tensors, path, metadata={ARCHITECTURE_KEY: json.dumps(net.architecture.as_dict(), sort_keys=True)})
    return sum(tensor.numel() for tensor in tensors.values())
