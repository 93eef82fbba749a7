"""What Pillow opens and decodes, as RGB."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from lseg_serve.segmenter.errors import ImageTooLargeError, InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.color import as_srgb
from lseg_serve.segmenter.preprocessing.decoding.kinds import begins_as_image, is_avif, refuse_text
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels

# Only the formats of photos and of annotation tools are opened. Some of Pillow's others start other programs.
Image.init()  # loads the formats, because Image.open does not where it is given a list of them
_FORMATS = tuple(
    name for name in ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM") if name in Image.OPEN
)
# Of these the decoders are asked by name, once other signs have told the kind.
_ASKED_BY_NAME = {"JPEG2000": "JPEG 2000", "ICO": "ICO", "TGA": "TGA", "PSD": "PSD"}
IMAGE_FORMATS = (
    *_FORMATS,
    "HEIC",
    "JPEG XL",
    *(shown for name, shown in _ASKED_BY_NAME.items() if name in Image.OPEN),
)

# The exceptions that decoders raise for damaged files.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    AssertionError,
)


@contextmanager
def bombs_refused(max_pixels: int) -> Iterator[None]:
    """Turn Pillow's refusal of an image, which may come before its size is known here, into that of `check_size`.

    Pillow refuses twice `Image.MAX_IMAGE_PIXELS`, 179 million pixels. The number belongs to the whole process, so it
    is left to the program: a worker, which has its process for itself, sets it to None.

    Raises:
        ImageTooLargeError: Pillow refused the image.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        limit = 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)
        accepted = max_pixels if max_pixels <= limit else f"{limit}, twice Pillow's Image.MAX_IMAGE_PIXELS"
        raise ImageTooLargeError(
            f"the image has {pixels.group() if pixels else 'too many'} pixels; accepted: up to {accepted}"
        ) from error


def opened(data: bytes, formats: tuple[str, ...] = _FORMATS) -> Image.Image:
    """The image file, its header read and its pixels not.

    Raises:
        UnsupportedImageError: not an image, or of a format that is not served.
        InvalidImageError: its header is truncated or damaged.
    """
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError as error:
        if is_avif(data) and "AVIF" not in _FORMATS:
            raise UnsupportedImageError("this is an AVIF image, and Pillow has no decoder for it here") from error
        if begins_as_image(data) or formats is not _FORMATS:
            raise InvalidImageError(
                f"the image is truncated or damaged: its {len(data)} bytes hold no header"
            ) from error
        refuse_text(data)
        kinds = ", ".join(IMAGE_FORMATS)
        raise UnsupportedImageError(f"the {len(data)} bytes sent are not an image; accepted: {kinds}") from error
    except DAMAGED as error:
        if str(error).lower().startswith("unsupported"):  # whole, but of a variant that Pillow does not know
            raise UnsupportedImageError(f"the image is of a variant that is not served: {error}") from error
        raise InvalidImageError(f"the image is truncated or damaged: {error}") from error


def loaded(image: Image.Image) -> Pixels:
    """The pixels of an open image of any format, as RGB and not turned.

    Raises:
        UnsupportedImageError: its pixels have 32 bits.
        InvalidImageError: it is truncated or damaged.
    """
    load(image)
    return np.asarray(over_white(image, image.info.get("icc_profile")))


def load(image: Image.Image) -> None:
    """Decode the pixels of an open image.

    Raises:
        InvalidImageError: it is truncated or damaged.
    """
    try:
        image.load()
    except DAMAGED as error:
        raise InvalidImageError(f"the {image.format} image is truncated or damaged: {error}") from error


def over_white(image: Image.Image, profile: object = None) -> Image.Image:
    """A loaded `image` of any mode as RGB: in sRGB by its colour `profile`, and over white where it is transparent.

    Raises:
        UnsupportedImageError: its pixels have 32 bits.
        InvalidImageError: what says how its pixels are meant is damaged, such as a palette that is missing.
    """
    try:
        return _over_white(image, profile)
    except DAMAGED as error:
        why = str(error) or f"mode {image.mode!r} without what belongs to it"  # an AssertionError says nothing
        raise InvalidImageError(f"the {image.format} image is truncated or damaged: {why}") from error


def _over_white(image: Image.Image, profile: object) -> Image.Image:
    if image.mode in ("I", "F"):
        raise UnsupportedImageError(f"pixels of mode {image.mode!r} (32 bits) are not served; accepted: 8 or 16 bits")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        colours = image.convert("RGB") if image.mode in ("1", "P") else image
        return _as_rgb(as_srgb(colours, profile))
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    colours = image.convert("L") if image.mode in ("L", "LA") else rgba.convert("RGB")
    rgba = _as_rgb(as_srgb(colours, profile))
    rgba.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy an RGB image
