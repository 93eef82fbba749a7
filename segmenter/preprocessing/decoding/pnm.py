"""PBM, PGM, PPM, PAM and PFM, decoded by NumPy. Pillow decodes most of them in Python, a large one in half a minute."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lseg_serve.segmenter.errors import InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.bands import (
    AS_IT_IS,
    Numbers,
    Reading,
    Samples,
    read_again,
    shown_bands,
    to_rgb,
)
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size

_KINDS = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7", b"Pf", b"PF")
_PLAIN = (b"P1", b"P2", b"P3")
_BITMAPS = (b"P1", b"P4")
_COLORED = (b"P3", b"P6", b"PF")
_FLOATS = (b"Pf", b"PF")
_ALPHA = (2, 4)  # depths of a PAM with alpha
_HIGHEST = 65_535
# Between the fields of a header are spaces and comments.
_GAP = rb"(?:\s|#[^\n\r]*[\n\r])+"
_FIELD = re.compile(_GAP + rb"([-+.0-9eE]{1,20})")
_COMMENT = re.compile(rb"#[^\n\r]*")
_NO_NUMBER = re.compile(rb"[^\s\d]|\d{10}")  # more digits would overflow
_PAM_HEADER = re.compile(rb"P7\s(.{0,4000}?)\nENDHDR\s*?\n", re.DOTALL)


@dataclass(frozen=True)
class _Header:
    kind: bytes
    width: int
    height: int
    depth: int  # numbers of a pixel
    highest: int  # the value of white
    start: int  # of the pixels
    order: str = ">"


def is_pnm(data: bytes) -> bool:
    """Whether `data` begins as one of these files does."""
    return data[:2] in _KINDS and data[2:3] in (b" ", b"\n", b"\r", b"\t", b"#")


def decode_pnm(data: bytes, max_pixels: int, reading: Reading = AS_IT_IS) -> Pixels:
    """The first picture of the file as RGB uint8 [H, W, 3]. Numbers above 255 keep their upper 8 of 16 bits.

    Raises:
        UnsupportedImageError: a PAM that is no picture in grey or colours.
        ImageTooLargeError: more than `max_pixels` pixels.
        InvalidImageError: truncated or damaged.
    """
    header = _pam_header(data) if data.startswith(b"P7") else _header(data)
    check_size(header.width, header.height, max_pixels)
    if header.kind in _FLOATS:
        return to_rgb(Samples(_raw(data, header, f"{header.order}f4")[::-1]), reading)  # its lowest row is the first
    if header.kind in _BITMAPS:
        return read_again(_bitmap(data, header), reading)
    numbers = _plain(data, header) if header.kind in _PLAIN else _raw(data, header, _number_type(header))
    colors, alpha = shown_bands(header.depth, [header.depth - 1] if header.depth in _ALPHA else [], reading)
    values = numbers[..., colors] if reading.range is not None else _shades(numbers[..., colors], header.highest)
    shares = None if alpha is None else _shades(numbers[..., alpha], header.highest)
    return to_rgb(Samples(values, shares), reading)


def _header(data: bytes) -> _Header:
    kind = data[:2]
    fields, position = [], 2
    for _ in range(2 if kind in _BITMAPS else 3):
        found = _FIELD.match(data, position)
        if found is None:
            raise _damaged(f"its {len(data)} bytes hold no header")
        fields.append(found[1])
        position = found.end()
    if kind not in _PLAIN and not data[position : position + 1].isspace():
        raise _damaged("no space ends its header")
    scale = fields[2] if len(fields) == 3 else b"1"
    width, height = _whole(fields[0]), _whole(fields[1])
    depth = 3 if kind in _COLORED else 1
    if kind in _FLOATS:
        return _Header(kind, width, height, depth, 0, position + 1, "<" if scale.startswith(b"-") else ">")
    return _Header(kind, width, height, depth, _highest(scale), position + (kind not in _PLAIN))


def _pam_header(data: bytes) -> _Header:
    found = _PAM_HEADER.match(data)
    if found is None:
        raise _damaged("its header has no end")
    lines = (line.split(None, 1) for line in _COMMENT.sub(b"", found[1]).splitlines())
    fields = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    width, height, depth = (_whole(fields.get(name, b"")) for name in (b"WIDTH", b"HEIGHT", b"DEPTH"))
    if depth > 4:
        raise UnsupportedImageError(f"a PAM of {depth} bands is not served; accepted: up to 4")
    return _Header(b"P7", width, height, depth, _highest(fields.get(b"MAXVAL", b"")), found.end())


def _whole(field: bytes) -> int:
    if not field.isdigit() or not int(field):
        raise _damaged(f"its header says {field.decode('latin-1')!r} for a size")
    return int(field)


def _highest(field: bytes) -> int:
    if not field.isdigit() or not 1 <= int(field) <= _HIGHEST:
        raise _damaged(f"its highest value is {field.decode('latin-1')!r}; accepted: 1 to {_HIGHEST}")
    return int(field)


def _number_type(header: _Header) -> str:
    return "u1" if header.highest < 256 else ">u2"


def _raw(data: bytes, header: _Header, kind: str) -> Numbers:
    """Numbers that are stored as they are: [H, W, depth]."""
    shape = (header.height, header.width, header.depth)
    needed = int(np.prod(shape)) * np.dtype(kind).itemsize
    _check_length(len(data) - header.start, needed, "bytes of pixels")
    numbers: Numbers = np.ndarray(shape, kind, data, header.start)
    return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)


def _plain(data: bytes, header: _Header) -> npt.NDArray[np.uint16]:
    """Numbers that are written in decimals: [H, W, depth]. A comment may stand between any two."""
    text = _COMMENT.sub(b" ", data[header.start :])
    end = _NO_NUMBER.search(text)
    shape = (header.height, header.width, header.depth)
    count = int(np.prod(shape))
    # Without a count: with one, NumPy fills up what is missing by whatever lies in memory.
    numbers = np.fromstring(text[: end.start() if end else None], np.int32, sep=" ")[:count]
    _check_length(numbers.size, count, "numbers")
    if numbers.max() > header.highest:
        raise _damaged(f"a value is above {header.highest}")
    return numbers.astype(np.uint16).reshape(shape)


def _bitmap(data: bytes, header: _Header) -> Pixels:
    """Black and white: [H, W, 3]. A one is black."""
    shape = (header.height, header.width)
    if header.kind in _PLAIN:
        digits = np.frombuffer(_COMMENT.sub(b"", data[header.start :]), np.uint8)
        digits = digits[(digits == ord("0")) | (digits == ord("1"))]
        _check_length(digits.size, header.width * header.height, "pixels")
        ones = digits[: header.width * header.height].reshape(shape) == ord("1")
    else:
        stride = -(-header.width // 8)
        _check_length(len(data) - header.start, header.height * stride, "bytes of pixels")
        rows = np.frombuffer(data, np.uint8, header.height * stride, header.start).reshape(header.height, stride)
        ones = np.unpackbits(rows, axis=1, count=header.width).astype(bool)
    return np.repeat(np.where(ones, np.uint8(0), np.uint8(255))[..., None], 3, axis=2)


def _shades(numbers: Numbers, highest: int) -> Pixels:
    """Numbers from 0 to `highest` as uint8, by a table; what lies beyond is white."""
    if highest == 255:
        return np.asarray(numbers, np.uint8)
    values = np.arange(highest + 1)
    table = np.rint(values * 255 / highest) if highest < 256 else np.rint(values * _HIGHEST / highest).astype(int) >> 8
    table = table.astype(np.uint8)
    shades = np.empty(numbers.shape, np.uint8)
    for row, values in zip(shades, numbers, strict=True):  # one by one: NumPy makes indices of 8 bytes first
        table.take(values, out=row, mode="clip")
    return shades


def _check_length(there: int, needed: int, what: str) -> None:
    if there < needed:
        raise _damaged(f"{max(there, 0)} of {needed} {what} are there")


def _damaged(why: str) -> InvalidImageError:
    return InvalidImageError(f"the PPM image is truncated or damaged: {why}")
