"""What an architecture needs of a checkpoint, and how the tensors of a file differ from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lseg_serve.model.checkpoint import Checkpoint
from lseg_serve.model.detection import REGULARIZER, detect_architecture
from lseg_serve.model.keys import is_unused, langseg_key
from lseg_serve.model.words import printable

_NAMED_IN_ERROR = 8
# Stands for what a file does not say of its block: the tensors are the same whatever it is.
_ANY_BLOCK = {"arch_option": 1, "block_depth": 1, "activation": "lrelu"}


def needed_keys(net: nn.Module) -> dict[str, str]:
    """lang-seg's key of every tensor of `net` that a checkpoint must have, by its name in `net`."""
    return {name: langseg_key(name) for name in net.state_dict() if not name.endswith("num_batches_tracked")}


def needed_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """What the architecture of a checkpoint needs: tensors without content, by lang-seg's keys.

    Raises:
        CheckpointError: the tensors do not tell an architecture.
    """
    from lseg_serve.model.lseg import LSeg  # here, for LSeg itself reads checkpoints

    architecture = detect_architecture(checkpoint, _ANY_BLOCK if REGULARIZER in checkpoint.tensors else {})
    with torch.device("meta"):
        net = LSeg(architecture)
    state = net.state_dict()
    return {key: state[name] for name, key in needed_keys(net).items()}


def extra_keys(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """The keys of `found` that are no part of LSeg, neither in evaluation nor in training."""
    return [key for key in found if key not in expected and not is_unused(key)]


def faults(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """What of `expected` is not in `found` as it must be, in words; empty if all is."""
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
    named = {"missing": missing, "wrong shape": shapes, "not plain floating-point": types}
    return [f"{what}: {listed(entries)}" for what, entries in named.items() if entries]


def listed(entries: list[str]) -> str:
    """The first of `entries`, and how many more there are."""
    rest = len(entries) - _NAMED_IN_ERROR
    return ", ".join(map(printable, sorted(entries)[:_NAMED_IN_ERROR])) + (f" and {rest} more" if rest > 0 else "")


def _is_usable(found: Tensor, expected: Tensor) -> bool:
    """Whether `found` can stand for `expected`: any plain floats for floats, int8 for int8."""
    same_kind = found.is_floating_point() if expected.is_floating_point() else found.dtype == expected.dtype
    return same_kind and found.layout == torch.strided
