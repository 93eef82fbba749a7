"""Points of an image: [x, y] in pixels, 0 the centre of the first; read from NumPy's files and checked."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # [N, 2]: x, y

NPY = b"\x93NUMPY"  # how NumPy's files begin
_ACCEPTED = "[x, y] for each point, in pixels of the upright image"


class PointsError(ValueError):
    """Points that no embedding can be given for; the message says what is accepted."""


def checked_points(points: object, height: int, width: int, most: int | None = None) -> Points:
    """`points` as an array [N, 2] of x and y that lie in an image of `height` x `width` pixels.

    An image reaches from -0.5, the outer edge of its first pixel, to `width` - 0.5 and `height` - 0.5.

    Raises:
        PointsError: no pairs of numbers, more than `most`, or one that is no number or outside the image.
    """
    found = as_points(points)
    if most is not None and len(found) > most:
        raise PointsError(f"there are {len(found)} points; accepted: up to {most} (max_points in model-config.yaml)")
    outside = ~((found >= -0.5) & (found <= (width - 0.5, height - 0.5))).all(axis=1)  # NaN is outside
    if outside.any():
        place = int(np.argmax(outside))
        x, y = found[place].tolist()
        raise PointsError(
            f"point {place + 1} is [{x:g}, {y:g}]; accepted: x from -0.5 to {width - 0.5:g}, y from -0.5 to "
            f"{height - 0.5:g}, the image has {width}x{height} pixels"
        )
    return found


def as_points(points: object) -> Points:
    """`points`, an array or a list of pairs, as float64 [N, 2]. Where they lie is checked by `checked_points`.

    Raises:
        PointsError: something else, or none at all.
    """
    if isinstance(points, np.ndarray):
        return _checked_array(points)
    if not isinstance(points, list | tuple):
        raise PointsError(f"points is of type {type(points).__name__}; accepted: {_ACCEPTED}")
    for place, point in enumerate(points, start=1):
        if not isinstance(point, list | tuple | np.ndarray) or len(point) != 2 or not all(map(_is_number, point)):
            raise PointsError(f"point {place} is {str(point)[:60]}; accepted: {_ACCEPTED}")
    try:
        return _checked_array(np.array(points, dtype=np.float64))
    except OverflowError as error:
        raise PointsError(f"a point has a number that is too large; accepted: {_ACCEPTED}") from error


def points_from_npy(content: bytes) -> Points:
    """Points from a file of NumPy's format, version 1 to 3: numbers [N, 2]. Nothing in it is unpickled.

    Raises:
        PointsError: it is damaged, holds something else, or has more or fewer bytes than its header says.
    """
    shape, order, dtype, start = _header(content)
    if dtype.hasobject or dtype.kind not in "fiu":
        kind = "pickled objects" if dtype.hasobject else f"values of type {dtype}"
        raise PointsError(f"the file of points holds {kind}; accepted: numbers [N, 2]")
    if len(shape) != 2 or shape[1] != 2:
        raise PointsError(f"the points have the shape {list(shape)}; accepted: [N, 2]")
    expected, found = shape[0] * 2 * dtype.itemsize, len(content) - start
    if expected != found:
        raise PointsError(f"the file of points has {found} bytes of numbers; its header says {expected}")
    numbers = np.frombuffer(content, dtype=dtype, offset=start).reshape(shape, order="F" if order else "C")
    return _checked_array(numbers)


def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether columns come first, type and where the numbers begin. `np.load` would allocate what it says."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, order, dtype = read(file)
    except Exception as error:  # NumPy parses a header as Python's source, and what that raises is not documented
        raise PointsError(f"the points are no file of NumPy that can be read: {str(error)[:100]}") from error
    return shape, order, dtype, file.tell()


def _checked_array(points: npt.NDArray[Any]) -> Points:
    if points.dtype.kind not in "fiu":
        raise PointsError(f"points is an array of {points.dtype}; accepted: numbers [N, 2], {_ACCEPTED}")
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise PointsError(f"points has the shape {list(points.shape)}; accepted: [N, 2] with N of 1 or more")
    return np.ascontiguousarray(points, dtype=np.float64)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
