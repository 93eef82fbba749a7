"""Tells torch that there is a device named hpu: stock torch lets one device be written in Python."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration

from habana_frameworks.torch.simulated import copies, operators  # noqa: F401 - gives the tensors their operators
from habana_frameworks.torch.simulated.tensor import HpuTensor

# Kept alive for as long as the process runs; torch forgets what a library defines when it is collected.
_LIBRARY = torch.library.Library("aten", "IMPL")


def register(module: ModuleType) -> None:
    """Make `hpu` a device of torch, with `module` as `torch.hpu`."""
    backend_registration._setup_privateuseone_for_python_backend("hpu", backend_module=module)
    for name, kernel in {
        "empty.memory_format": _empty,
        "empty_strided": _empty_strided,
        "_copy_from": _copy_from,
    }.items():
        _LIBRARY.impl(name, kernel, "PrivateUse1")


def _empty(size: list[int], *, dtype: Any = None, memory_format: Any = None, **_: Any) -> Tensor:
    return HpuTensor(torch.empty(size, dtype=dtype, memory_format=memory_format))


def _empty_strided(size: list[int], stride: list[int], *, dtype: Any = None, **_: Any) -> Tensor:
    return HpuTensor(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """What torch.tensor(..., device="hpu") ends in, past __torch_dispatch__."""
    copied = copies.copy_in_place(target, source)
    assert copied is not None
    return copied
