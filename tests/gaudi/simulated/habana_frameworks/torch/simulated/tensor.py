"""The tensor on the simulated card: a wrapper with the device hpu:0 around a CPU tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from habana_frameworks.torch.simulated.device import DEVICE
from habana_frameworks.torch.simulated.memory import Cell
from habana_frameworks.torch.simulated.recorder import Value

# The place that torch keeps for one more device. Asked for as "hpu" before it has that name, torch would give the
# built-in device type of that name, for which stock torch has nothing.
_HPU = torch.device("privateuseone", 0)


class HpuTensor(Tensor):
    """Reports the card as its device; `host` is what CPU torch computes with."""

    host: Tensor
    cell: Cell
    value: Value
    constant_id: int | None
    # Whether Dynamo ever asked for a tensor without content in this process.
    traced: ClassVar[bool] = False
    # Set by `operators`, which needs this class.
    run_operator: ClassVar[Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]]

    # Every operator comes to __torch_dispatch__ anyway; going through __torch_function__ too would only cost time.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, host: Tensor, cell: Cell | None = None) -> HpuTensor:
        if DEVICE.card is None:
            DEVICE.acquire()
        tensor: HpuTensor = Tensor._make_wrapper_subclass(
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=_HPU,
        )
        return tensor

    def __init__(self, host: Tensor, cell: Cell | None = None) -> None:
        self.host = host
        self.cell = cell or Cell(host.untyped_storage().nbytes() if type(host) is Tensor else 0)
        self.value = Value()
        self.constant_id = None

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return HpuTensor.run_operator(operator, args, kwargs or {})

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        """What Dynamo needs to make a fake of the tensor: the names of the tensors in it."""
        return ["host"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], context: None, size: Any, stride: Any) -> HpuTensor:
        HpuTensor.traced = True
        return HpuTensor(inner["host"])

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        text = tensor_contents or repr(self.detach().cpu()).removeprefix("tensor(").removesuffix(")")
        return f"tensor({text}, device='{self.device}', simulated)"

    def __format__(self, specification: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), specification)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. "
            "Use Tensor.cpu() to copy the tensor to host memory first."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> HpuTensor:
        copied: Any = self.detach().clone().requires_grad_(self.requires_grad)
        copied._is_param = getattr(self, "_is_param", False)
        memo[id(self)] = copied
        assert isinstance(copied, HpuTensor)
        return copied
