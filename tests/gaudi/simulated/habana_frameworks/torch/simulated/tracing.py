"""Operators while Dynamo looks at a function: tensors have shapes and no content, and nothing is counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_map

from habana_frameworks.torch.simulated.tensor import HpuTensor


def is_traced(values: Any) -> bool:
    """Whether one of the arguments holds a tensor without content."""
    for value in values:
        kind = type(value)
        if kind is HpuTensor:
            if type(value.host) is not Tensor:
                return True
        elif kind is FakeTensor or ((kind is list or kind is tuple) and is_traced(value)):
            return True
    return False


def run(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operator's shapes, on the device that it would be on."""
    to_host = operator._schema.name == "aten::_to_copy" and torch.device(kwargs.get("device") or "hpu").type == "cpu"
    result = operator(*tree_map(_plain, args), **tree_map(_plain, kwargs))
    if to_host:
        return result
    originals = [one for one in args if isinstance(one, HpuTensor)]
    return tree_map(lambda one: _wrapped(one, originals), result)


def _plain(value: Any) -> Any:
    if isinstance(value, HpuTensor):
        return value.host
    if isinstance(value, FakeTensor) and value.device.type == "hpu":  # made inside the function
        with value.fake_mode:
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype)
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value


def _wrapped(value: Any, originals: list[HpuTensor]) -> Any:
    if not isinstance(value, Tensor):
        return value
    return next((one for one in originals if one.host is value), None) or HpuTensor(value)
