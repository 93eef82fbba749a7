"""PNG of 16 bits, all of which Pillow does not give: it keeps the upper 8, black where the values lie in 12."""

from __future__ import annotations

from contextlib import suppress

import cv2
import numpy as np
import numpy.typing as npt

from lseg_serve.segmenter.preprocessing.decoding.bands import (
    AS_IT_IS,
    Reading,
    Samples,
    read_again,
    shown_bands,
    to_rgb,
)
from lseg_serve.segmenter.preprocessing.decoding.color import pixels_as_srgb
from lseg_serve.segmenter.preprocessing.decoding.orientation import exif_orientation, upright
from lseg_serve.segmenter.preprocessing.decoding.pillow import load, loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size
from lseg_serve.segmenter.preprocessing.decoding.png import only_picture

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH = 24  # where the header says the bits of a sample


def is_png_16(data: bytes) -> bool:
    """Whether `data` is a PNG of 16 bits."""
    return data.startswith(_SIGNATURE) and data[_DEPTH : _DEPTH + 1] == b"\x10"


def decode_png_16(data: bytes, max_pixels: int, reading: Reading = AS_IT_IS) -> Pixels:
    """The picture of a PNG of 16 bits, upright, as RGB uint8 [H, W, 3].

    Raises:
        ImageTooLargeError: more than `max_pixels` pixels, or too long a side; checked before pixels are decoded.
        InvalidImageError: truncated or damaged.
        InvalidOptionError: `reading` names a band that the image has not.
    """
    picture = only_picture(data)
    image = opened(picture, ("PNG",))
    check_size(*image.size, max_pixels)
    load(image)  # says what is wrong with a damaged file, which OpenCV would fill up
    numbers = None if "transparency" in image.info else _numbers(picture)
    if numbers is None:
        return upright(read_again(loaded(image), reading), exif_orientation(image))
    count = numbers.shape[2]
    colors, alpha = shown_bands(count, [3] if count == 4 else [], reading)
    samples = Samples(numbers[..., colors], None if alpha is None else numbers[..., alpha])
    pixels = to_rgb(samples, reading)
    if reading == AS_IT_IS:  # a profile is for the picture's own colours
        mode = "RGB" if image.mode.startswith("RGB") else "L"
        pixels = pixels_as_srgb(pixels, image.info.get("icc_profile"), mode)
    return upright(pixels, exif_orientation(image))


def _numbers(data: bytes) -> npt.NDArray[np.uint16] | None:
    """All bits: [H, W, 1] grey, [H, W, 3] RGB or [H, W, 4] with alpha; None where OpenCV has them not."""
    found = None
    with suppress(cv2.error):
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16:
        return None
    found = np.atleast_3d(found)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(found.shape[2])
    return None if order is None else np.asarray(found[..., order], np.uint16)
