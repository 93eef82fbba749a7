"""Tensors of the protocol v2, in JSON and as raw bytes behind it.

An element of datatype BYTES is text in JSON. Raw, it is its length in four bytes, the lowest first, and its bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lseg_serve.labelsets import kind_in_json
from lseg_serve.segmenter import InvalidRequestError, Pixels

_LENGTH = struct.Struct("<I")
# Of each number of 8 bits its digits and a comma, padded with zero bytes to one length.
_DIGITS = np.array([f"{number},".encode() for number in range(256)])
_DATATYPES = ("BYTES", "UINT8")
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Tensor:
    """An input: its elements in row-major order, as text or bytes (BYTES) or as numbers (UINT8)."""

    name: str
    shape: tuple[int, ...]
    elements: list[str | bytes] | Pixels

    @property
    def datatype(self) -> str:
        """BYTES or UINT8."""
        return "BYTES" if isinstance(self.elements, list) else "UINT8"


def read_tensors(entries: object, raw: bytes) -> list[Tensor]:
    """The tensors that `entries`, the list `inputs`, describes. Raw ones lie in `raw`, one behind the other.

    Raises:
        InvalidRequestError: an entry is no tensor, or its data do not fit its shape.
    """
    if not isinstance(entries, list):
        raise InvalidRequestError(f"inputs is {kind_in_json(entries)}; accepted: a list of tensors")
    tensors, start = [], 0
    for entry in entries:
        name, datatype, shape = _described(entry)
        size = _raw_size(name, entry)
        if size is None:
            elements = _from_json(name, datatype, shape, entry.get("data"))
        elif entry.get("data") is not None:
            raise InvalidRequestError(f"the input {name} has data and binary_data_size; accepted: one of them")
        else:
            if start + size > len(raw):
                raise InvalidRequestError(
                    f"the input {name} has a binary_data_size of {size}, and {len(raw) - start} bytes are left for it"
                )
            elements = _from_raw(name, datatype, shape, raw[start : start + size])
            start += size
        tensors.append(Tensor(name, shape, elements))
    if start < len(raw):
        raise InvalidRequestError(
            f"{len(raw) - start} bytes behind the tensors belong to none; accepted: as many as binary_data_size says"
        )
    return tensors


def _described(entry: object) -> tuple[str, str, tuple[int, ...]]:
    """Name, datatype and shape of an entry."""
    if not isinstance(entry, dict):
        raise InvalidRequestError(f"an input is {kind_in_json(entry)}; accepted: an object with name, shape, datatype")
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str):
        raise InvalidRequestError(f"the name of an input is {kind_in_json(name)}; accepted: text")
    name = name[:60]
    if datatype not in _DATATYPES:
        shown = repr(datatype[:60]) if isinstance(datatype, str) else kind_in_json(datatype)
        raise InvalidRequestError(f"the datatype of the input {name} is {shown}; accepted: {', '.join(_DATATYPES)}")
    sides = shape if isinstance(shape, list) and len(shape) <= _MOST_DIMENSIONS else [None]
    if not all(isinstance(side, int) and not isinstance(side, bool) and 0 <= side < 2**31 for side in sides):
        raise InvalidRequestError(
            f"the shape of the input {name} is {str(shape)[:60]}; accepted: a list of up to {_MOST_DIMENSIONS} sizes"
        )
    return name, datatype, tuple(sides)


def _raw_size(name: str, entry: Mapping[str, Any]) -> int | None:
    """The bytes that a raw tensor takes; None where it is in JSON."""
    parameters = entry.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequestError(
            f"the parameters of the input {name} are {kind_in_json(parameters)}; accepted: an object"
        )
    size = (parameters or {}).get("binary_data_size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise InvalidRequestError(f"binary_data_size of the input {name} is {str(size)[:60]}; accepted: bytes, from 0")
    return size


def _from_json(name: str, datatype: str, shape: tuple[int, ...], data: object) -> list[str | bytes] | Pixels:
    if not isinstance(data, list):
        raise InvalidRequestError(f"data of the input {name} is {kind_in_json(data)}; accepted: a list")
    flat = _flat(data)
    _check_count(name, shape, len(flat))
    if datatype == "BYTES":
        wrong = next((one for one in flat if not isinstance(one, str)), "")
        if wrong != "":
            raise InvalidRequestError(f"data of the input {name} has {kind_in_json(wrong)}; accepted: texts")
        return flat
    numbers = np.array(flat) if set(map(type, flat)) == {int} else np.zeros(0, dtype=object)
    if flat and (numbers.dtype.kind != "i" or numbers.min() < 0 or numbers.max() > 255):
        raise InvalidRequestError(f"data of the input {name} has other values; accepted: whole numbers from 0 to 255")
    return numbers.astype(np.uint8)


def _flat(data: list[Any]) -> list[Any]:
    """The elements of lists within lists, in their order."""
    for _ in range(_MOST_DIMENSIONS):
        if not any(isinstance(one, list) for one in data):
            break
        data = [one for part in data for one in (part if isinstance(part, list) else [part])]
    return data


def _from_raw(name: str, datatype: str, shape: tuple[int, ...], data: bytes) -> list[str | bytes] | Pixels:
    if datatype == "UINT8":
        _check_count(name, shape, len(data))
        return np.frombuffer(data, dtype=np.uint8)
    elements: list[str | bytes] = []
    start = 0
    while start < len(data):
        length = _LENGTH.unpack_from(data, start)[0] if start + _LENGTH.size <= len(data) else len(data)
        start += _LENGTH.size
        if start + length > len(data):
            raise InvalidRequestError(
                f"element {len(elements) + 1} of the input {name} does not fit in its binary_data_size; accepted: each "
                "as its length in 4 bytes, the lowest first, and its bytes"
            )
        elements.append(data[start : start + length])
        start += length
    _check_count(name, shape, len(elements))
    return elements


def _check_count(name: str, shape: tuple[int, ...], count: int) -> None:
    if math.prod(shape) != count:
        raise InvalidRequestError(
            f"the input {name} has {count} elements, and its shape {list(shape)} has {math.prod(shape)}"
        )


def written(
    name: str,
    shape: Sequence[int],
    elements: Sequence[bytes] | Pixels,
    binary: bool,
    texts: Sequence[str] = (),
    parameters: Mapping[str, object] | None = None,
) -> tuple[bytes, bytes]:
    """An output: its entry as JSON, and the bytes behind all JSON, which are empty unless it is `binary`.

    Args:
        name: of the output.
        shape: of the output.
        elements: bytes (BYTES) or uint8 (UINT8), in row-major order.
        binary: whether it is raw.
        texts: what stands for the elements of BYTES in JSON.
        parameters: of the output, besides its size.
    """
    if isinstance(elements, np.ndarray):
        datatype, raw, data = "UINT8", elements.tobytes() if binary else b"", b"" if binary else _digits(elements)
    else:
        datatype, raw = "BYTES", b"".join(_LENGTH.pack(len(one)) + one for one in elements) if binary else b""
        data = json.dumps(list(texts)).encode()
    parameters = {"binary_data_size": len(raw), **(parameters or {})} if binary else parameters
    entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(shape)}
    text = json.dumps({**entry, "parameters": parameters} if parameters else entry).encode()
    return (text, raw) if binary else (text[:-1] + b', "data": ' + data + b"}", b"")


def _digits(numbers: Pixels) -> bytes:
    """`numbers` as a JSON list. For a large mask `json` takes many times as long."""
    padded = _DIGITS[numbers.ravel()].tobytes()
    return b"[" + padded.replace(b"\0", b"").removesuffix(b",") + b"]"
