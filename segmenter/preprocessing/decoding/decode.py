"""The way of an image file: its kind, its size, its pixels, upright."""

from __future__ import annotations

from collections.abc import Callable

from lseg_serve.segmenter.errors import InvalidImageError
from lseg_serve.segmenter.preprocessing.decoding import kinds
from lseg_serve.segmenter.preprocessing.decoding.bands import AS_IT_IS, Reading, read_again
from lseg_serve.segmenter.preprocessing.decoding.bmp import decode_bmp, is_unusual_bmp
from lseg_serve.segmenter.preprocessing.decoding.heif import decode_heif
from lseg_serve.segmenter.preprocessing.decoding.icon import decode_icon
from lseg_serve.segmenter.preprocessing.decoding.jpeg import decode_jpeg
from lseg_serve.segmenter.preprocessing.decoding.jpeg2000 import decode_jpeg_2000
from lseg_serve.segmenter.preprocessing.decoding.jpegxl import decode_jpeg_xl
from lseg_serve.segmenter.preprocessing.decoding.orientation import exif_orientation, upright
from lseg_serve.segmenter.preprocessing.decoding.photoshop import decode_photoshop
from lseg_serve.segmenter.preprocessing.decoding.pillow import bombs_refused, loaded, opened
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size
from lseg_serve.segmenter.preprocessing.decoding.png import decode_png
from lseg_serve.segmenter.preprocessing.decoding.png16 import decode_png_16, is_png_16
from lseg_serve.segmenter.preprocessing.decoding.pnm import decode_pnm, is_pnm
from lseg_serve.segmenter.preprocessing.decoding.quiet import without_warnings
from lseg_serve.segmenter.preprocessing.decoding.targa import decode_targa
from lseg_serve.segmenter.preprocessing.decoding.tiff import decode_tiff
from lseg_serve.segmenter.preprocessing.decoding.tiff_directories import is_tiff

# Kinds whose numbers are more than 8 bits, so that a client may say how to read them.
_NUMBERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes, int, Reading], Pixels]], ...] = (
    (is_tiff, decode_tiff),
    (is_pnm, decode_pnm),
    (is_png_16, decode_png_16),
)
# Who decodes what else. The first kind that `data` is of counts; Pillow decodes all that is of none of them.
_DECODERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes, int], Pixels]], ...] = (
    (kinds.is_jpeg, decode_jpeg),
    (kinds.is_png, decode_png),
    (kinds.is_heif, decode_heif),
    (kinds.is_jpeg_2000, decode_jpeg_2000),
    (kinds.is_jpeg_xl, decode_jpeg_xl),
    (kinds.is_photoshop, decode_photoshop),
    (kinds.is_targa, decode_targa),
    (kinds.is_icon, decode_icon),
    (is_unusual_bmp, decode_bmp),
)


def decode_image(data: bytes, max_pixels: int, reading: Reading = AS_IT_IS) -> Pixels:
    """The first frame of the image file `data`, upright, in sRGB, as RGB uint8 [H, W, 3].

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
    kinds.refuse_by_name(data)
    with without_warnings(), bombs_refused(max_pixels):
        of_numbers = next((decoder for is_kind, decoder in _NUMBERS if is_kind(data)), None)
        if of_numbers is not None:
            return of_numbers(data, max_pixels, reading)
        decoder = next((decoder for is_kind, decoder in _DECODERS if is_kind(data)), _decode_by_pillow)
        return read_again(decoder(data, max_pixels), reading)


def _decode_by_pillow(data: bytes, max_pixels: int) -> Pixels:
    image = opened(data)
    check_size(image.width, image.height, max_pixels)
    pixels = loaded(image)
    return upright(pixels, exif_orientation(image))
