"""Files of embeddings: arrays by name and one JSON text about them, as npz without pickles or as safetensors."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

Container = Literal["npz", "safetensors"]
Arrays = Mapping[str, npt.NDArray[Any]]

_ABOUT = "about"  # the JSON text: an array of the npz, an entry of the safetensors' metadata
_ZIP = b"PK"


class EmbeddingsFileError(ValueError):
    """A file that holds no embeddings, or holds them damaged."""


def pack(arrays: Arrays, about: Mapping[str, Any], container: Container) -> bytes:
    """The bytes of a file with `arrays` of numbers and `about`, which JSON must be able to hold."""
    text = json.dumps(about, ensure_ascii=False)
    if container == "safetensors":
        return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata={_ABOUT: text})
    buffer = io.BytesIO()
    named: dict[str, Any] = {**arrays, _ABOUT: np.array(text)}
    np.savez(buffer, **named)
    return buffer.getvalue()


def unpack(content: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays by name and what is said about them, from a file of either kind, which its first bytes tell.

    Raises:
        EmbeddingsFileError: it is neither, or damaged.
    """
    try:
        arrays, text = _from_npz(content) if content.startswith(_ZIP) else _from_safetensors(content)
        about = json.loads(text)
    except (ValueError, KeyError, OSError, EOFError, RecursionError, zipfile.BadZipFile, SafetensorError) as error:
        raise EmbeddingsFileError(f"no file of embeddings that can be read: {error}") from error
    if not isinstance(about, dict):
        raise EmbeddingsFileError("no file of embeddings: what it says of itself is no JSON object")
    return arrays, about


def _from_npz(content: bytes) -> tuple[dict[str, npt.NDArray[Any]], str]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != _ABOUT}
        return arrays, str(file[_ABOUT])


def _from_safetensors(content: bytes) -> tuple[dict[str, npt.NDArray[Any]], str]:
    arrays = load(content)  # checks the header as well
    length = int.from_bytes(content[:8], "little")
    return arrays, json.loads(content[8 : 8 + length])["__metadata__"][_ABOUT]
