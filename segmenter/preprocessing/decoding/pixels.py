"""Pixels, and how many of them are accepted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lseg_serve.segmenter.errors import ImageTooLargeError

Pixels = npt.NDArray[np.uint8]

# The longest side that a JPEG can have is the limit for all formats. One row of scores for 255 labels then takes 67 MB
# at most, and not gigabytes.
_LONGEST_SIDE = 65_535


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image that is too large, before its pixels are decoded.

    Raises:
        ImageTooLargeError: more than `max_pixels` pixels, or too long a side.
    """
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"the image is {width}x{height} = {width * height} pixels; accepted: up to {max_pixels}"
        )
    if max(width, height) > _LONGEST_SIDE:
        raise ImageTooLargeError(f"the image is {width}x{height}; accepted: sides of up to {_LONGEST_SIDE} pixels")
