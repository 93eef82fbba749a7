"""The way of an image file: its kind, its size, its pixels, upright."""

from __future__ import annotations

from lseg_serve.segmenter.errors import InvalidImageError
from lseg_serve.segmenter.preprocessing.decoding.bands import AS_IT_IS, Reading, read_again
from lseg_serve.segmenter.preprocessing.decoding.bmp import decode_bmp
from lseg_serve.segmenter.preprocessing.decoding.jpeg import JPEGS, check_scans, whole_jpeg
from lseg_serve.segmenter.preprocessing.decoding.kinds import refuse_by_name
from lseg_serve.segmenter.preprocessing.decoding.orientation import exif_orientation, upright
from lseg_serve.segmenter.preprocessing.decoding.pillow import bombs_refused, loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size
from lseg_serve.segmenter.preprocessing.decoding.pnm import decode_pnm, is_pnm
from lseg_serve.segmenter.preprocessing.decoding.quiet import without_warnings
from lseg_serve.segmenter.preprocessing.decoding.tiff import decode_tiff
from lseg_serve.segmenter.preprocessing.decoding.tiff_directories import is_tiff


def decode_image(data: bytes, max_pixels: int, reading: Reading = AS_IT_IS) -> Pixels:
    """The first frame of the image file `data`, upright by its EXIF orientation, as RGB uint8 [H, W, 3].

    Transparent pixels are blended with white, as viewers show them. `reading` says which bands are shown and which
    values are black and white; `bands.to_rgb` has the rules that hold without it.

    Raises:
        InvalidOptionError: `reading` names a band that the image has not.
        UnsupportedImageError: not an image, or of a format that is not served.
        ImageTooLargeError: more than `max_pixels` pixels, or too long a side; checked before pixels are decoded.
        InvalidImageError: empty, truncated or damaged.
    """
    if not data:
        raise InvalidImageError("the image is empty (0 bytes)")
    with without_warnings(), bombs_refused(max_pixels):
        if is_tiff(data):
            return decode_tiff(data, max_pixels, reading)
        if is_pnm(data):
            return decode_pnm(data, max_pixels, reading)
        refuse_by_name(data)
        bmp = decode_bmp(data, max_pixels)
        if bmp is not None:
            return read_again(bmp, reading)
        image = opened(data)
        check_size(image.width, image.height, max_pixels)
        if image.format in JPEGS:
            check_scans(data)
        pixels = whole_jpeg(data, image)
        if pixels is None:
            pixels = loaded(image)
        return upright(read_again(pixels, reading), exif_orientation(image))
