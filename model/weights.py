"""A network made on the meta device, filled with a checkpoint's tensors in place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.checkpoint import Checkpoint
from model.errors import CheckpointError
from model.keys import is_unused, langseg_key

_NAMED_IN_ERROR = 8


def fill(net: nn.Module, checkpoint: Checkpoint) -> None:
    """Give every tensor of `net` its value from `checkpoint`, as float32, without a copy where it is float32.

    Raises:
        CheckpointError: tensors missing, left over, of another shape or of no floating type; the keys are named.
    """
    expected = {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    keys = {name: langseg_key(name) for name in expected}
    problems = _problems({keys[name]: value for name, value in expected.items()}, checkpoint.tensors)
    if problems:
        raise CheckpointError(f"{checkpoint.path}: " + "; ".join(problems))
    state = {name: checkpoint.tensors[keys[name]].float() for name in expected}
    net.load_state_dict(state, strict=False, assign=True)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked = torch.zeros((), dtype=torch.int64)  # not loaded, so still on meta


def _problems(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """What keeps `found` from being exactly `expected`, in words."""
    extra = [key for key in found if key not in expected and not is_unused(key)]
    missing = [key for key in expected if key not in found]
    both = [key for key in expected if key in found]
    shapes = [
        f"{key} {list(found[key].shape)} for {list(expected[key].shape)}"
        for key in both
        if found[key].shape != expected[key].shape
    ]
    types = [
        f"{key} {found[key].dtype} {found[key].layout}"
        for key in both
        if not found[key].is_floating_point() or found[key].layout != torch.strided
    ]
    named = {"missing": missing, "not part of LSeg": extra, "wrong shape": shapes, "not plain floating-point": types}
    return [f"{what}: {_listed(entries)}" for what, entries in named.items() if entries]


def _listed(entries: list[str]) -> str:
    rest = len(entries) - _NAMED_IN_ERROR
    return ", ".join(sorted(entries)[:_NAMED_IN_ERROR]) + (f" and {rest} more" if rest > 0 else "")
