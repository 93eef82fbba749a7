"""The content of a checkpoint file, read without running any code in it."""

from __future__ import annotations

import json
import tarfile
import warnings
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from lseg_serve.model import restricted_pickle
from lseg_serve.model.architecture import Architecture
from lseg_serve.model.errors import CheckpointError
from lseg_serve.model.file_kinds import foreign_kind, kind_of_folder
from lseg_serve.model.restricted_pickle import CodeInPickleError
from lseg_serve.model.words import printable

# A key in the metadata of the safetensors files that this project writes.
ARCHITECTURE_KEY = "lseg.architecture"


def read_file(path: Path) -> tuple[object, Architecture | None]:
    """What a safetensors file or one of torch.save holds, and the architecture that it states.

    Raises:
        CheckpointError: no such file, one that is no checkpoint, or a damaged one.
    """
    try:
        _check_kind(path)
        return _read_safetensors(path) if _is_safetensors(path) else (_read_pickle(path), None)
    except CheckpointError:
        raise
    except CodeInPickleError as error:
        raise CheckpointError(
            f"{path}: not a checkpoint to trust: it names {printable(str(error))}, by which a file can run programs or "
            f"read files when it is loaded. Nothing of it was run; load it with no other program either"
        ) from error
    except Exception as error:  # a damaged file can raise anything, from any layer of the readers
        raise CheckpointError(f"{path}: not a readable checkpoint ({_reason(error)})") from error


def _check_kind(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(f"{path}: not a checkpoint but {kind_of_folder(path)}")
    if not path.is_file():
        raise CheckpointError(f"{path}: not a file with content" if path.exists() else f"{path}: no such file")
    kind = foreign_kind(path)
    if kind is not None:
        raise CheckpointError(f"{path}: not a checkpoint but {kind}")


def _reason(error: Exception) -> str:
    """One line of `error`. torch's own texts advise to load the file in a way that would run its code."""
    kind, line = type(error).__name__, str(error).strip().partition("\n")[0]
    return kind if not line or "weights_only" in line else f"{kind}: {printable(line)}"


def _is_safetensors(path: Path) -> bool:
    """Whether the file begins as safetensors does: the length of a JSON header, then the header."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Architecture | None]:
    with safe_open(path, framework="pt") as file:
        stated = (file.metadata() or {}).get(ARCHITECTURE_KEY)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    return tensors, Architecture.from_dict(json.loads(stated)) if stated else None


def _read_pickle(path: Path) -> object:
    """What torch.save wrote: torch reads the storages, and `restricted_pickle` what refers to them.

    Raises:
        ValueError: a file of which torch would run something, or that torch.save did not write.
    """
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    if zipped and "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
        raise ValueError("a TorchScript file, which holds code")  # torch.load would run it
    if not zipped and _is_tar(path):
        raise ValueError("a tar archive, as torch wrote them before version 0.1.10")  # torch.load would unpack it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of source code that it does not find, where a file holds a whole module
        # Not torch's restricted loader (weights_only=True): it takes no other unpickler. Files of torch < 1.6 are no
        # zip archives, and cannot be mapped.
        return torch.load(path, map_location="cpu", pickle_module=restricted_pickle, weights_only=False, mmap=zipped)


def _is_tar(path: Path) -> bool:
    """Whether torch would take the file for a tar archive."""
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.TarError:
        return False
