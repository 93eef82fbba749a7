"""The tensors of a network: loaded from a checkpoint, and saved to a file of the project's own."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lseg_serve.model.architecture import Architecture
from lseg_serve.model.checkpoint import Checkpoint
from lseg_serve.model.checkpoint_file import ARCHITECTURE_KEY
from lseg_serve.model.errors import CheckpointError
from lseg_serve.model.keys import langseg_key
from lseg_serve.model.wholeness import extra_keys, faults, listed, needed_keys


def fill(net: nn.Module, checkpoint: Checkpoint, *, own_types: bool = False) -> None:
    """Give every tensor of `net` its value from `checkpoint` as float32. float32 and int8 tensors are not copied.

    With `own_types`, every tensor keeps the type that it has in the checkpoint.

    Raises:
        CheckpointError: a tensor is missing, left over, of another shape or not floating-point; its key is named.
    """
    keys, state = needed_keys(net), net.state_dict()
    expected = {key: state[name] for name, key in keys.items()}
    problems = faults(expected, checkpoint.tensors)
    extra = [*extra_keys(expected, checkpoint.tensors), *checkpoint.extra]
    if extra:
        problems.append(f"not part of LSeg: {listed(extra)}; the export's --ignore-extra drops what is not")
    if problems:
        raise CheckpointError(f"{checkpoint.path}: " + "; ".join(problems))
    found = {name: checkpoint.tensors[key] for name, key in keys.items()}
    values = found if own_types else {name: _as_float32(tensor) for name, tensor in found.items()}
    net.load_state_dict(values, strict=False, assign=True)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked = torch.zeros((), dtype=torch.int64)  # not loaded, so still on meta


def save_weights(net: nn.Module, architecture: Architecture, path: Path) -> int:
    """Write the tensors of `net` under lang-seg's keys, with the architecture; returns the count of their elements.

    CLIP's image tower and timm's head are not in the network to begin with, so they are not written.
    """
    tensors = {langseg_key(name): tensor.contiguous() for name, tensor in sorted(net.state_dict().items())}
    save_file(tensors, path, metadata={ARCHITECTURE_KEY: json.dumps(architecture.as_dict(), sort_keys=True)})
    return sum(tensor.numel() for tensor in tensors.values())


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.int8 else tensor.float()
