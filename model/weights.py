"""The tensors of a network: loaded from a checkpoint, and saved to a file of the project's own."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lseg_serve.model.architecture import Architecture
from lseg_serve.model.checkpoint import ARCHITECTURE_KEY, Checkpoint
from lseg_serve.model.errors import CheckpointError
from lseg_serve.model.keys import is_unused, langseg_key

_NAMED_IN_ERROR = 8


def fill(net: nn.Module, checkpoint: Checkpoint, *, own_types: bool = False) -> None:
    """Give every tensor of `net` its value from `checkpoint` as float32. float32 and int8 tensors are not copied.

    With `own_types`, every tensor keeps the type that it has in the checkpoint.

    Raises:
        CheckpointError: a tensor is missing, left over, of another shape or not floating-point; its key is named.
    """
    expected = {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    keys = {name: langseg_key(name) for name in expected}
    problems = _problems({keys[name]: value for name, value in expected.items()}, checkpoint.tensors)
    if problems:
        raise CheckpointError(f"{checkpoint.path}: " + "; ".join(problems))
    found = {name: checkpoint.tensors[keys[name]] for name in expected}
    state = found if own_types else {name: _as_float32(tensor) for name, tensor in found.items()}
    net.load_state_dict(state, strict=False, assign=True)
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


def _problems(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """The differences of `found` from `expected`, in words; empty if there are none."""
    extra = [key for key in found if key not in expected and not is_unused(key)]
    missing = [key for key in expected if key not in found]
    both = [key for key in expected if key in found]
    shapes = [
        f"{key} {list(found[key].shape)} for {list(expected[key].shape)}"
        for key in both
        if found[key].shape != expected[key].shape
    ]
    types = [
        f"{key} {found[key].dtype} {found[key].layout}" for key in both if not _is_usable(found[key], expected[key])
    ]
    named = {"missing": missing, "not part of LSeg": extra, "wrong shape": shapes, "not plain floating-point": types}
    return [f"{what}: {_listed(entries)}" for what, entries in named.items() if entries]


def _is_usable(found: Tensor, expected: Tensor) -> bool:
    """Whether `found` can stand for `expected`: any plain floats for floats, int8 for int8."""
    same_kind = found.is_floating_point() if expected.is_floating_point() else found.dtype == expected.dtype
    return same_kind and found.layout == torch.strided


def _listed(entries: list[str]) -> str:
    rest = len(entries) - _NAMED_IN_ERROR
    return ", ".join(sorted(entries)[:_NAMED_IN_ERROR]) + (f" and {rest} more" if rest > 0 else "")
