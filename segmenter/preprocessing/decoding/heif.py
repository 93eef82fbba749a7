"""HEIF with HEVC inside (HEIC), which telephones write."""

from __future__ import annotations

import numpy as np
import pillow_heif

from lseg_serve.segmenter.errors import InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.color import pixels_as_srgb
from lseg_serve.segmenter.preprocessing.decoding.pillow import DAMAGED, over_white
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size


def decode_heif(data: bytes, max_pixels: int) -> Pixels:
    """The main picture of a HEIF file, as RGB uint8 [H, W, 3].

    It is turned as the file's own properties say (`irot`, `imir`). EXIF says it once more, and is not asked. Of 10 and
    12 bits the upper 8 are kept.

    Raises:
        UnsupportedImageError: a sequence without a still picture, or another codec than HEVC.
        ImageTooLargeError: more than `max_pixels` pixels, or too long a side; checked before pixels are decoded.
        InvalidImageError: truncated or damaged.
    """
    try:
        file = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)  # not register_heif_opener: it changes Pillow
        main = file[file.primary_index]
        check_size(*main.size, max_pixels)
        profile = main.info.get("icc_profile")
        if main.mode == "RGB":  # without the copies that Pillow would make
            return pixels_as_srgb(np.asarray(main), profile, main.mode)
        image = main.to_pillow()
    except DAMAGED as error:
        raise _refusal(error) from error
    return np.asarray(over_white(image, profile))


def _refusal(error: Exception) -> InvalidImageError:
    """What pillow-heif's exceptions mean: no picture at all, a feature that is missing, or damage."""
    if isinstance(error, IndexError):
        return UnsupportedImageError("the HEIF file holds no still picture in HEVC; convert it to JPEG or PNG")
    if isinstance(error, SyntaxError):
        return UnsupportedImageError(f"the HEIF image is not served: {error}; convert it to JPEG or PNG")
    return InvalidImageError(f"the HEIF image is truncated or damaged: {error}")
