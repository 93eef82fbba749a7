"""Reading pickles without running anything: what torch.load takes in place of the module `pickle`.

A pickle names classes and functions, and asks for calls. Here every name but those of tensors becomes an inert
stand-in, which takes whatever it is given and does nothing. torch's own restricted loader refuses such names instead,
and has no room for a number of NumPy's, a deque or a newer pickle protocol, which files of trainings are full of.
"""

from __future__ import annotations

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any

import torch
from torch import Tensor

# What no checkpoint has a use for. The list makes no file safe, the stand-ins do: it is there to warn of the file.
_CODE_MODULES = frozenset(
    {"os", "posix", "nt", "sys", "subprocess", "commands", "pty", "shutil", "socket", "ctypes", "runpy", "importlib"}
    | {"webbrowser", "code", "timeit", "asyncio", "multiprocessing", "urllib", "requests", "http", "ftplib", "pdb"}
)
_CODE_NAMES = frozenset(
    {f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__", "open")} | {"io.open", "_io.open"}
)

_DEEPEST = 100  # tuples in each other
_MOST_ITEMS = 1_000_000  # in a tuple and those in it


class CodeInPickleError(ValueError):
    """A pickle that would run a program or code if it were loaded in the usual way."""


class StandIn(dict[Any, Any]):
    """What an object of any class becomes: a dictionary of the items, members or attributes that it is given.

    Calling it, or its class, gives another one. It is compared and hashed by identity, so that it can be a key.
    """

    name = ""  # of the class or function it stands for

    def __new__(cls, *_: object, **__: object) -> StandIn:  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __call__(self, *_: object, **__: object) -> StandIn:  # noqa: D102
        return StandIn()

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<{self.name or 'object'}>"

    def append(self, _: object) -> None:
        """An item of what was a list or a deque; dropped."""

    def extend(self, _: Iterable[object]) -> None:
        """Items of what was a list or a deque; dropped."""

    def add(self, _: object) -> None:
        """A member of what was a set; dropped."""

    def __setstate__(self, state: object) -> None:
        """Attributes become items, so that a namespace reads as a dictionary; a state of another kind is dropped."""
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.update(part)


@dataclass(frozen=True)
class _Tuple:
    made: tuple[object, ...]  # kept, for another object could have its identity otherwise
    depth: int
    size: int  # items, those of the tuples inside counted wherever they occur


class Unpickler(pickle._Unpickler):
    """Python's unpickler with every name resolved by this file alone.

    The one written in Python, because the one in C keeps a list as long as the largest number that a file states.
    """

    stack: list[Any]

    def __init__(self, file: IO[bytes], **options: Any) -> None:
        super().__init__(file, **options)
        self._tuples: dict[int, _Tuple] = {}  # those that were made, by identity

    def check_tuple(self) -> None:
        """Refuse a tuple of too many in each other: as a key, it would exhaust the stack of C, or take for ever.

        Raises:
            ValueError: so is the tuple that was made last.
        """
        made = self.stack[-1]
        inside = [self._tuples[id(item)] for item in made if id(item) in self._tuples]
        depth = 1 + max((item.depth for item in inside), default=0)
        size = len(made) + sum(item.size for item in inside)
        if depth > _DEEPEST or size > _MOST_ITEMS:
            raise ValueError("too many tuples in each other")
        self._tuples[id(made)] = _Tuple(made, depth, size)

    def find_class(self, module_name: str, global_name: str) -> Any:
        """What stands for a name: a function that makes a tensor, a type of numbers, else a stand-in.

        Raises:
            CodeInPickleError: the name is one of a function that runs programs or code.
        """
        # Files of protocol 2, which is torch.save's, call what Python has by the names that Python 2 had.
        mapped = NAME_MAPPING.get((module_name, global_name))
        module_name, global_name = mapped or (IMPORT_MAPPING.get(module_name, module_name), global_name)
        name = f"{module_name}.{global_name}"
        if name.partition(".")[0] in _CODE_MODULES or name in _CODE_NAMES:
            raise CodeInPickleError(name)
        if name == "builtins.getattr":
            return lambda owner, attribute: _stand_in(f"{getattr(owner, 'name', '')}.{attribute}")
        if name in _REBUILT:
            return _inert(_REBUILT[name])
        if name in ("torch.storage.UntypedStorage", "torch.UntypedStorage"):
            return type("UntypedStorage", (), {"dtype": torch.uint8})
        known = vars(torch).get(global_name) if module_name == "torch" else None
        return known if isinstance(known, torch.dtype) else _stand_in(name)


def _checked(operation: int) -> Callable[[Any], None]:
    """An operation that makes a tuple, with a check of what it made."""
    make = pickle._Unpickler.dispatch[operation]

    def make_and_check(unpickler: Any) -> None:
        make(unpickler)
        unpickler.check_tuple()

    return make_and_check


_TUPLES = (pickle.TUPLE[0], pickle.TUPLE1[0], pickle.TUPLE2[0], pickle.TUPLE3[0])
Unpickler.dispatch = {**pickle._Unpickler.dispatch, **{operation: _checked(operation) for operation in _TUPLES}}


def load(file: IO[bytes], **options: Any) -> Any:
    """The next pickle in `file`, as `pickle.load` reads it."""
    return Unpickler(file, **options).load()


@lru_cache(maxsize=1024)
def _stand_in(name: str) -> type[StandIn]:
    return type(name.rpartition(".")[2] or "object", (StandIn,), {"name": name})


def _inert(function: Callable[..., object]) -> Callable[..., object]:
    """`function` behind a new one, for a pickle can set attributes of what it is given."""
    return lambda *arguments: function(*arguments)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    """A tensor of a storage; that it takes gradients, and who listens to them, is dropped."""
    made: Tensor = torch._utils._rebuild_tensor(storage, offset, size, stride)
    return made


def _typed_tensor(storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
    """A tensor of a type that has no storages of its own, such as float8; `rest` has it third."""
    made: Tensor = torch._utils._rebuild_tensor_v3(storage, offset, size, stride, False, {}, rest[2])
    return made


def _parameter(data: object, *_: object) -> object:
    return data


def _of_subclass(rebuild: Callable[..., object], _: object, arguments: tuple[object, ...], __: object) -> object:
    """A tensor with attributes: the tensor alone."""
    return rebuild(*arguments)


_REBUILT: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
}
