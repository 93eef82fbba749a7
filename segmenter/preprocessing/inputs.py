"""What a Python caller gives as an image: a file's path, its bytes, or pixels. Each is checked as a request's is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lseg_serve.segmenter.errors import InvalidImageError
from lseg_serve.segmenter.preprocessing.decoding import Pixels, decode_image
from lseg_serve.segmenter.preprocessing.decoding.pixels import check_size

_ACCEPTED = "a file's path or bytes, or RGB pixels as a NumPy array of uint8 [H, W, 3], 0..255"


def read_pixels(image: object, max_pixels: int) -> Pixels:
    """The pixels [H, W, 3] of `image`: the path of a file, the file's bytes, or the pixels themselves.

    Raises:
        InvalidImageError: there is no such file, or it cannot be read.
        InvalidRequestError: what `decode_image` and `checked_pixels` raise.
    """
    if isinstance(image, str | os.PathLike):
        image = _content(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_image(bytes(image), max_pixels)
    return checked_pixels(image, max_pixels)


def checked_pixels(image: object, max_pixels: int) -> Pixels:
    """`image` as an array that lies in memory row by row, as torch needs it: uint8 [H, W, 3]. Others are copied.

    Raises:
        InvalidImageError: no array of uint8 [H, W, 3], or one without pixels.
        ImageTooLargeError: more than `max_pixels` pixels, or too long a side.
    """
    if not isinstance(image, np.ndarray):
        kind = type(image)
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        raise InvalidImageError(f"image is of type {name}; accepted: {_ACCEPTED}")
    if image.dtype != np.uint8:
        raise InvalidImageError(f"image is an array of {image.dtype}; accepted: {_ACCEPTED}")
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InvalidImageError(f"image has the shape {list(image.shape)}; accepted: {_ACCEPTED}, with 1 pixel or more")
    check_size(image.shape[1], image.shape[0], max_pixels)
    return np.ascontiguousarray(image)


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        file = Path(path)
        if file.exists() and not file.is_file():  # reading a pipe or a device would never end
            raise InvalidImageError(f"image is {str(path)!r}, which is no plain file; accepted: {_ACCEPTED}")
        return file.read_bytes()
    except (OSError, ValueError, TypeError) as error:  # the last two for a path that no system can have
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidImageError(f"image is {str(path)[:200]!r}, which cannot be read: {reason}") from error
