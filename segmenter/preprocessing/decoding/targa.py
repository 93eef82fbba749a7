"""Targa (TGA)."""

from __future__ import annotations

import numpy as np

from lseg_serve.segmenter.errors import InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.pillow import load, opened, over_white
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size


def decode_targa(data: bytes, max_pixels: int) -> Pixels:
    """The picture of a Targa file, as RGB uint8 [H, W, 3].

    Many programs leave the fourth byte of a pixel 0 and mean no transparency, so where all are 0 none is.

    Raises:
        ImageTooLargeError: more than `max_pixels` pixels; checked before pixels are decoded.
        UnsupportedImageError: its run lengths go beyond the ends of rows, which Pillow does not read.
        InvalidImageError: truncated or damaged.
    """
    image = opened(data, ("TGA",))
    check_size(*image.size, max_pixels)
    try:
        load(image)
    except InvalidImageError as error:
        if "overrun" in error.message:
            raise UnsupportedImageError(
                "a TGA image whose run lengths go beyond the ends of its rows is not served; save it as PNG"
            ) from error
        raise
    if image.mode in ("RGBA", "LA") and image.getextrema()[-1] == (0, 0):
        image.putalpha(255)
    return np.asarray(over_white(image))
