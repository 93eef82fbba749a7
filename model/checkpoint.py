"""Checkpoint files: the tensors and hyper-parameters in them, read without running any code they carry."""

from __future__ import annotations

import json
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from lseg_serve.model.architecture import Architecture
from lseg_serve.model.errors import CheckpointError

# Every LSeg has this tensor. What precedes it in a key is the prefix of a Lightning module or another wrapper.
_LANDMARK = "scratch.head1.weight"
# Keys under which files nest their tensors, if they do.
_NESTED = ("state_dict", "model_state_dict", "model")
# A key in the metadata of the safetensors files that this project writes.
ARCHITECTURE_KEY = "lseg.architecture"


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file: tensors under lang-seg's keys and, if it has any, hyper-parameters.

    The tensors are mapped from the file. They take memory only when they are used, and the file must not change.
    """

    path: Path
    tensors: dict[str, Tensor]
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    architecture: Architecture | None = None  # only the project's own files state it


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a Lightning checkpoint, a bare state dict (torch.save) or a safetensors file.

    Raises:
        CheckpointError: no such file, an unreadable one, or one without LSeg's tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if _is_text(path):
        raise CheckpointError(f"{path}: not a checkpoint but text (a Git LFS pointer, or a web page?)")
    stated = None
    try:
        if _is_safetensors(path):
            tensors, stated = _read_safetensors(path)
            content: dict[str, Any] = dict(tensors)
        else:
            content = _read_pickle(path)
    except Exception as error:  # a damaged file can raise anything, from any layer of the readers
        raise CheckpointError(f"{path}: not a readable checkpoint ({_reason(error)})") from error
    hyper_parameters = content.get("hyper_parameters")
    tensors = _without_prefix(path, _state_dict(path, content))
    return Checkpoint(path, tensors, dict(hyper_parameters) if isinstance(hyper_parameters, dict) else {}, stated)


def _reason(error: Exception) -> str:
    """One line of `error`, without torch's advice to load the file in a way that would run its code."""
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return text.partition("\n")[0] or type(error).__name__


def _is_text(path: Path) -> bool:
    """Whether the file begins as text does; every checkpoint has zero bytes or others that text has not."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start or not start.isascii() or start.startswith(b"PK"):
        return False
    return start.decode("ascii").replace("\n", "").isprintable()


def _is_safetensors(path: Path) -> bool:
    """Whether the file begins as safetensors does: the length of a JSON header, then the header."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Architecture | None]:
    with safe_open(path, framework="pt") as file:
        stated = (file.metadata() or {}).get(ARCHITECTURE_KEY)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    return tensors, Architecture.from_dict(json.loads(stated)) if stated else None


def _read_pickle(path: Path) -> dict[str, Any]:
    """What torch.save wrote, by torch's restricted unpickler.

    Lightning up to 1.5 uses callback classes as dictionary keys, and the restricted unpickler refuses every class it
    does not know. So each name in the file gets an empty stand-in, which can hold data but do nothing.
    """
    mapped = zipfile.is_zipfile(path)  # files of torch < 1.6 are no zip archives, and cannot be mapped
    unknown = torch.serialization.get_unsafe_globals_in_checkpoint(str(path)) if mapped else []
    stand_ins: list[Any] = [(_stand_in(name), name) for name in unknown]
    with torch.serialization.safe_globals(stand_ins):
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not a dictionary of tensors")
    return content


def _stand_in(name: str) -> type:
    """An inert class in place of the class or function `name`.

    Calling it gives an empty dictionary, whatever the arguments. A dictionary is the one type that torch lets a file
    fill with items and with attributes, and Lightning's own containers are dictionaries.
    """

    def make(cls: type, *args: object, **kwargs: object) -> OrderedDict[Any, Any]:
        return OrderedDict()

    return type(name.rpartition(".")[2], (), {"__new__": make})


def _state_dict(path: Path, content: dict[str, Any]) -> dict[str, Tensor]:
    nested = next((content[name] for name in _NESTED if name in content), content)
    if not isinstance(nested, dict):
        raise CheckpointError(f"{path}: its state_dict is a {type(nested).__name__}, not a dictionary of tensors")
    odd = [key for key, value in nested.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if odd:
        raise CheckpointError(
            f"{path}: not a state dict: {odd[0]!r} is a {type(nested[odd[0]]).__name__}, not a tensor"
        )
    return nested


def _without_prefix(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under lang-seg's own keys."""
    found = next((key for key in tensors if key.endswith(_LANDMARK)), None)
    if found is None:
        count = len(tensors)
        raise CheckpointError(
            f"{path}: not an LSeg checkpoint: there is no tensor {_LANDMARK!r} among its {count} keys"
        )
    prefix = found.removesuffix(_LANDMARK)
    return {key.removeprefix(prefix): value for key, value in tensors.items()}
