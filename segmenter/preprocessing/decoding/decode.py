"""The way of an image file: its kind, its size, its pixels, upright."""

from __future__ import annotations

from lseg_serve.segmenter.errors import InvalidImageError
from lseg_serve.segmenter.preprocessing.decoding.jpeg import JPEGS, check_scans, whole_jpeg
from lseg_serve.segmenter.preprocessing.decoding.kinds import refuse_by_name
from lseg_serve.segmenter.preprocessing.decoding.orientation import exif_orientation, upright
from lseg_serve.segmenter.preprocessing.decoding.pillow import bombs_refused, loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size
from lseg_serve.segmenter.preprocessing.decoding.quiet import without_warnings


def decode_image(data: bytes, max_pixels: int) -> Pixels:
    """The first frame of the image file `data`, upright by its EXIF orientation, as RGB uint8 [H, W, 3].

    Transparent pixels are blended with white, as viewers show them. Of 16-bit grey the upper 8 bits are kept.

    Raises:
        UnsupportedImageError: not an image, or of a format that is not served.
        ImageTooLargeError: more than `max_pixels` pixels, or too long a side; checked before pixels are decoded.
        InvalidImageError: empty, truncated or damaged.
    """
    if not data:
        raise InvalidImageError("the image is empty (0 bytes)")
    refuse_by_name(data)
    with without_warnings(), bombs_refused(max_pixels):
        image = opened(data)
        check_size(image.width, image.height, max_pixels)
        if image.format in JPEGS:
            check_scans(data)
        pixels = whole_jpeg(data, image)
        if pixels is None:
            pixels = loaded(image)
        return upright(pixels, exif_orientation(image))
