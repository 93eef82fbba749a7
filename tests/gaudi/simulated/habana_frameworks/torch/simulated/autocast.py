"""`torch.autocast("hpu")`: which operators compute in the lower precision, which in float32, which in the widest given.

The lists differ from CUDA's: layer_norm, softmax, mul and mean go to the lower precision. The first list that names an
operator decides. The list for float32 is known in part; a file can replace either list, as on the real device.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from habana_frameworks.torch.simulated.tensor import HpuTensor

_LOWER = [
    "addmm",
    "addbmm",
    "batch_norm",
    "baddbmm",
    "bmm",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "dot",
    "dropout",
    "feature_dropout",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "leaky_relu",
    "linear",
    "matmul",
    "mean",
    "mm",
    "mul",
    "mv",
    "softmax",
    "log_softmax",
    "scaled_dot_product_attention",
]
_FLOAT32 = [
    "acos",
    "addcdiv",
    "asin",
    "atan2",
    "cdist",
    "cosh",
    "cosine_similarity",
    "cross_entropy_loss",
    "dist",
    "div",
    "divide",
    "embedding",
    "embedding_bag",
    "exp",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "logsumexp",
    "pow",
    "reciprocal",
    "renorm",
    "rsqrt",
    "softplus",
    "tan",
    "topk",
    "true_divide",
]
_WIDEST = ["add", "addcmul", "cat", "stack", "sub"]
# Only the first argument is cast: weights and statistics stay as they are.
_FIRST_ONLY = frozenset(("layer_norm", "group_norm", "instance_norm", "batch_norm"))

_KEY = getattr(torch._C.DispatchKey, "AutocastPrivateUse1")  # noqa: B009 - not in its type
_KEYS = torch._C.DispatchKeySet(_KEY)
# Kept alive for as long as the process runs; torch forgets what a library defines when it is collected.
_FALLBACK = torch.library.Library("_", "IMPL")
_LIBRARY = torch.library.Library("aten", "IMPL")

_Choice = Callable[[list[Tensor]], torch.dtype]


def register() -> None:
    """Let every operator pass through autocast, and those of the lists with their arguments cast."""
    _FALLBACK.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    taken: set[str] = set()
    for names, choose in (
        (_listed("PT_HPU_AUTOCAST_LOWER_PRECISION_OPS_LIST", _LOWER), _lower),
        (_listed("PT_HPU_AUTOCAST_FP32_OPS_LIST", _FLOAT32), _float32),
        (_WIDEST, _widest),
    ):
        for name in names:
            if name not in taken:
                taken.add(name)
                _register(name, choose)


def _listed(variable: str, default: list[str]) -> list[str]:
    """The lines of the file that the variable points to, each a name, or the default."""
    path = os.environ.get(variable)
    if path and not Path(path).is_file():
        print(f"{variable} names {path}, which cannot be opened; the default list holds (simulated)", file=sys.stderr)
    elif path:
        return Path(path).read_text(encoding="utf-8").splitlines()
    return default


def _register(name: str, choose: _Choice) -> None:
    for operator in _overloads(name):
        _LIBRARY.impl(operator.name(), _kernel(operator, choose, name in _FIRST_ONLY), "AutocastPrivateUse1")


def _overloads(name: str) -> Iterator[Any]:
    """The operator's overloads that return something new."""
    packet = getattr(torch.ops.aten, name, None)
    for overload in packet.overloads() if packet is not None else ():
        operator = getattr(packet, overload)
        if not operator._schema.is_mutable and "Dimname" not in str(operator._schema):
            yield operator


def _kernel(operator: Any, choose: _Choice, first_only: bool) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_KEYS):
            found = list(_eligible(args[:1] if first_only else (*args, *kwargs.values())))
            if not found:
                return operator(*args, **kwargs)
            dtype = choose(found)
            if first_only:
                return operator(_cast(args[0], dtype), *args[1:], **kwargs)
            cast_kwargs = {key: _cast(value, dtype) for key, value in kwargs.items()}
            return operator(*(_cast(value, dtype) for value in args), **cast_kwargs)

    return kernel


def _is_eligible(value: Any) -> bool:
    return type(value) is HpuTensor and value.is_floating_point() and value.dtype is not torch.float64


def _eligible(values: tuple[Any, ...]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from (one for one in value if _is_eligible(one))
        elif _is_eligible(value):
            yield value


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_cast(one, dtype) for one in value)
    return value.to(dtype) if _is_eligible(value) and value.dtype is not dtype else value


def _lower(tensors: list[Tensor]) -> torch.dtype:
    return torch.get_autocast_dtype("hpu")


def _float32(tensors: list[Tensor]) -> torch.dtype:
    return torch.float32


def _widest(tensors: list[Tensor]) -> torch.dtype:
    return max((tensor.dtype for tensor in tensors), key=lambda dtype: dtype.itemsize)
