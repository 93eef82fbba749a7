"""Every operator on the card's tensors comes through here: computed by the CPU, recorded for the graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from habana_frameworks.torch.simulated import capture, copies, fallback, numerics, tracing
from habana_frameworks.torch.simulated.counts import TOTALS, count_type
from habana_frameworks.torch.simulated.recorder import RECORDER
from habana_frameworks.torch.simulated.tensor import HpuTensor
from habana_frameworks.torch.utils.internal import is_lazy

# The second operand of these is sent as a tensor, so that its value is no part of the graph.
_BINARY = ("add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "bitwise_and", "bitwise_or", "bitwise_xor")
_SCALAR_AS_TENSOR = frozenset((*_BINARY, *(f"{name}_" for name in _BINARY), "rsub"))
# The shape of the result depends on the content: the host has to wait for it.
_DATA_DEPENDENT = frozenset(
    ("nonzero", "masked_select", "unique", "_unique", "_unique2", "unique_dim", "unique_consecutive", "equal")
)
# The same tensor under another name: no operator on the card.
_ALIASES = frozenset(("detach", "alias", "lift_fresh"))
# Views, though their schemas do not say so.
_UNDECLARED_VIEWS = frozenset(("_unsafe_view", "_reshape_alias", *_ALIASES))
# They make room and compute nothing.
_EMPTY = frozenset(("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"))
# What is counted by the type that it runs in.
_TYPED = frozenset(
    ("mm", "bmm", "addmm", "baddbmm", "convolution", "_softmax", "native_layer_norm", "upsample_bilinear2d")
)
# A host tensor of any shape may stand among their arguments.
_TAKES_HOST_INDICES = frozenset(("index", "index_put", "index_put_", "_index_put_impl_"))

_LAZY = is_lazy()


@dataclass(frozen=True, slots=True)
class _Traits:
    """What must be known of an operator, worked out once."""

    name: str
    base: str
    view: bool
    writes: bool
    alias: bool
    empty: bool
    scalar_as_tensor: bool
    data_dependent: bool
    fallback: bool
    fallback_types: frozenset[str]
    names: tuple[str, ...]


@cache
def _traits(operator: Any) -> _Traits:
    schema = operator._schema
    base = schema.name.removeprefix("aten::")
    aliases = [argument.alias_info for argument in schema.arguments if argument.alias_info is not None]
    writes = any(alias.is_write for alias in aliases)
    return _Traits(
        name=schema.name + (f".{schema.overload_name}" if schema.overload_name else ""),
        base=base,
        view=base in _UNDECLARED_VIEWS or (bool(aliases) and not writes),
        writes=writes,
        alias=base in _ALIASES,
        empty=base in _EMPTY,
        scalar_as_tensor=base in _SCALAR_AS_TENSOR,
        data_dependent=base in _DATA_DEPENDENT,
        fallback=base in fallback.missing_operators(),
        fallback_types=frozenset(
            kind for name, _, kind in (one.partition(":") for one in fallback.missing_operators()) if name == base
        ),
        names=tuple(argument.name for argument in schema.arguments),
    )


class _Call:
    """One call with the card's tensors replaced by their CPU tensors, and everything else noted as attributes."""

    __slots__ = ("args", "attributes", "inputs", "kwargs", "traits")

    def __init__(self, traits: _Traits, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.traits = traits
        self.inputs: list[HpuTensor] = []
        self.attributes: list[Any] = []
        self.args = [self._plain(value) for value in args]
        if traits.scalar_as_tensor and len(args) > 1 and isinstance(args[1], int | float):
            self.attributes[1:2] = [type(args[1]).__name__]
        self.kwargs = {}
        for key, value in kwargs.items():
            self.attributes.append(key)
            self.kwargs[key] = self._plain(value)

    def _plain(self, value: Any) -> Any:
        kind = type(value)
        if kind is HpuTensor:
            self.inputs.append(value)
            self.attributes.append("T")
            return value.host
        if kind is list or kind is tuple:
            self.attributes.append(len(value))
            return [self._plain(one) for one in value]
        if kind is torch.device:
            return torch.device("cpu") if value.type == "hpu" else value
        if isinstance(value, Tensor):
            return self._host_operand(value)
        self.attributes.append(value if kind in _HASHABLE else str(value))
        return value

    def _host_operand(self, value: Tensor) -> Tensor:
        if value.ndim and self.traits.base not in _TAKES_HOST_INDICES:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, hpu:0 and "
                f"{value.device}! (in {self.traits.name})"
            )
        copies.count_upload(value)
        self.attributes.append(("host", tuple(value.shape), str(value.dtype)))
        return value


_HASHABLE = (int, float, bool, str, type(None))


def run_operator(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `__torch_dispatch__` does for one operator."""
    if HpuTensor.traced and tracing.is_traced(args):
        return tracing.run(operator, args, kwargs)
    traits = _traits(operator)
    if traits.base == "_to_copy":
        copied = copies.to_copy(args, kwargs)
        if copied is not None:
            return copied
    elif traits.base == "copy_":
        copied = copies.copy_in_place(args[0], args[1])
        if copied is not None:
            return copied
    elif traits.base == "_local_scalar_dense":
        RECORDER.cut("item()")  # always, whether or not this very tensor is pending
        return copies.read_back(args[0], "item()").item()
    call = _Call(traits, args, kwargs)
    if traits.base in _TYPED:
        count_type(traits.base, call.inputs[0].dtype)
    if traits.fallback or _arguments_need_host(traits, args, kwargs) or _types_need_host(call):
        return _run_on_host(operator, call)
    if traits.data_dependent:
        return _run_data_dependent(operator, call)
    if traits.base == "gelu" and numerics.tanh_for_gelu():  # a choice of kernel, which the graph does not show
        result = operator(*call.args, approximate="tanh")
    else:
        result = operator(*call.args, **call.kwargs)
    wrapped = _wrap(call, result)
    if traits.alias and call.inputs:
        wrapped.value, wrapped.constant_id = call.inputs[0].value, call.inputs[0].constant_id
    elif not traits.empty and not (traits.view and not _LAZY):  # in eager mode a view launches nothing
        _record(operator, call, result, wrapped)
    return wrapped


HpuTensor.run_operator = staticmethod(run_operator)


def _arguments_need_host(traits: _Traits, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if traits.base not in fallback.CHECKED:
        return False
    return fallback.arguments_need_host(traits.base, {**dict(zip(traits.names, args, strict=False)), **kwargs})


def _types_need_host(call: _Call) -> bool:
    types = call.traits.fallback_types
    return bool(types) and any(str(one.dtype).removeprefix("torch.") in types for one in call.inputs)


def _run_on_host(operator: Any, call: _Call) -> Any:
    fallback.enter(call.traits.name)
    for tensor in call.inputs:
        copies.read_back(tensor, "CPU fallback")
    result = operator(*call.args, **call.kwargs)
    wrapped = _wrap(call, result)
    for one in _tensors(result):
        copies.count_upload(one)
    return wrapped


def _run_data_dependent(operator: Any, call: _Call) -> Any:
    if capture.capturing():
        raise RuntimeError(f"simulated Gaudi: {call.traits.name} has no static shape and cannot be captured")
    RECORDER.cut(call.traits.name)
    TOTALS.syncs += 1
    return _wrap(call, operator(*call.args, **call.kwargs))


def _tensors(result: Any) -> tuple[Tensor, ...]:
    if isinstance(result, Tensor):
        return (result,)
    if isinstance(result, tuple | list):
        return tuple(one for one in result if isinstance(one, Tensor))
    return ()


def _wrap(call: _Call, result: Any) -> Any:
    """The CPU results as tensors of the card: the same object where an argument was written, else a new one."""
    if isinstance(result, Tensor):
        return _wrap_one(call, result)
    if isinstance(result, tuple | list):
        return type(result)(_wrap(call, one) for one in result)
    return result


def _wrap_one(call: _Call, result: Tensor) -> Tensor:
    if call.traits.writes:
        for tensor in call.inputs:
            if tensor.host is result:
                numerics.narrow_in_place(result)
                if tensor.shape != result.shape or tensor.stride() != result.stride():
                    tensor.data = HpuTensor(result, tensor.cell)  # an out= argument grew, or squeeze_ and its like
                return tensor
    if call.traits.view and call.inputs:
        return HpuTensor(result, call.inputs[0].cell)
    return HpuTensor(numerics.narrowed(result))


def _record(operator: Any, call: _Call, result: Any, wrapped: Any) -> None:
    made = [wrapped] if type(wrapped) is HpuTensor else [one for one in _tensors(wrapped) if type(one) is HpuTensor]
    if capture.capturing() and not call.traits.view:
        capture.keep(operator, call.args, call.kwargs, made)
    sources = {id(one) for one in call.inputs} if call.traits.writes else ()
    written = [one for one in made if id(one) in sources]
    outputs = [one for one in made if id(one) not in sources] if written else made
    RECORDER.record(call.traits.name, tuple(call.attributes), call.inputs, outputs, written)
