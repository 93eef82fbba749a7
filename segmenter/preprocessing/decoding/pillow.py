"""What Pillow opens and decodes, as RGB."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from lseg_serve.segmenter.errors import ImageTooLargeError, InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.kinds import SIGNATURES
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels

# Only the formats of photos and of annotation tools are opened. Some of Pillow's others start other programs.
Image.init()  # loads the formats, because Image.open does not where it is given a list of them
IMAGE_FORMATS = tuple(
    name for name in ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM") if name in Image.OPEN
)

# The exceptions that Pillow's decoders raise for damaged files.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, RuntimeError)


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


def opened(data: bytes) -> Image.Image:
    """The image file, its header read and its pixels not.

    Raises:
        UnsupportedImageError: not an image, or of a format that is not served.
        InvalidImageError: its header is truncated or damaged.
    """
    try:
        return Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
    except UnidentifiedImageError as error:
        if data.startswith(SIGNATURES):
            raise InvalidImageError(
                f"the image is truncated or damaged: its {len(data)} bytes hold no header"
            ) from error
        kinds = ", ".join(IMAGE_FORMATS)
        raise UnsupportedImageError(f"the {len(data)} bytes sent are not an image; accepted: {kinds}") from error
    except DAMAGED as error:
        raise InvalidImageError(f"the image is truncated or damaged: {error}") from error


def loaded(image: Image.Image) -> Pixels:
    """The pixels of an open image of any format, as RGB and not turned.

    Raises:
        UnsupportedImageError: its pixels have 32 bits.
        InvalidImageError: it is truncated or damaged.
    """
    load(image)
    return np.asarray(_as_rgb(image))


def load(image: Image.Image) -> None:
    """Read the pixels of an open image.

    Raises:
        InvalidImageError: it is truncated or damaged.
    """
    try:
        image.load()
    except MemoryError:
        raise
    except DAMAGED as error:
        raise InvalidImageError(f"the {image.format} image is truncated or damaged: {error}") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise UnsupportedImageError(f"pixels of mode {image.mode!r} (32 bits) are not served; accepted: 8 or 16 bits")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy an RGB image
