"""From the bytes of an image file to upright RGB pixels, or an error that says what is wrong with the bytes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from contextlib import suppress

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from lseg_serve.segmenter.errors import ImageTooLargeError, InvalidImageError, UnsupportedImageError

Pixels = npt.NDArray[np.uint8]

# Only the formats of photos and of annotation tools are opened. Some of Pillow's others start other programs.
Image.init()  # loads the formats, because Image.open does not where it is given a list of them
IMAGE_FORMATS = tuple(
    name for name in ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM") if name in Image.OPEN
)

# This module checks the number of pixels before it decodes them. Pillow's own check would only warn.
Image.MAX_IMAGE_PIXELS = None

# The longest side that a JPEG can have is the limit for all formats. One row of scores for 255 labels then takes 67 MB
# at most, and not gigabytes.
_LONGEST_SIDE = 65_535

_JPEGS = ("JPEG", "MPO")  # an MPO file is several JPEGs, one after the other
_JPEG_END = b"\xff\xd9"
# A progressive JPEG has about ten scans. Each scan costs a pass over the whole image, but takes only a few bytes of
# the file, so a small file with many scans could keep a worker busy for very long.
_MOST_SCANS = 100
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # the markers that a length follows, and the end marker
_SCAN, _END = 0xDA, _JPEG_END[1]

# For each EXIF orientation, what turns the pixels upright. OpenCV is several times faster than Pillow or NumPy.
_TURNS: dict[object, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: lambda pixels: cv2.transpose(pixels),
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}

# PPM as decimal text is not served, because one as large as an upload may be takes half a minute to decode.
_PLAIN_PPM = (b"P1", b"P2", b"P3")

# The first bytes of image files. A file that begins with them and ends within its header is reported as truncated, and
# not as something else than an image.
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")

# The exceptions that Pillow's decoders raise for damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, RuntimeError)


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata, which is no reason to refuse an image
        image = _open(data)
        if image.width * image.height > max_pixels:
            raise ImageTooLargeError(
                f"the image is {image.width}x{image.height} = {image.width * image.height} pixels; "
                f"accepted: up to {max_pixels}"
            )
        if max(image.size) > _LONGEST_SIDE:
            raise ImageTooLargeError(
                f"the image is {image.width}x{image.height}; accepted: sides of up to {_LONGEST_SIDE} pixels"
            )
        if image.format in _JPEGS and _scans(data) > _MOST_SCANS:
            raise InvalidImageError(f"the {image.format} image has more than {_MOST_SCANS} scans")
        pixels = _whole_jpeg(data, image)
        if pixels is None:
            pixels = _loaded(image)
        turn = _TURNS.get(_orientation(image))
        return pixels if turn is None else turn(pixels)


def _open(data: bytes) -> Image.Image:
    if data.startswith(_PLAIN_PPM):
        raise UnsupportedImageError("a PPM in plain text is not served; accepted: the binary kind (P4, P5, P6)")
    try:
        return Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
    except UnidentifiedImageError as error:
        if data.startswith(_SIGNATURES):
            raise InvalidImageError(
                f"the image is truncated or damaged: its {len(data)} bytes hold no header"
            ) from error
        kinds = ", ".join(IMAGE_FORMATS)
        raise UnsupportedImageError(f"the {len(data)} bytes sent are not an image; accepted: {kinds}") from error
    except _DAMAGED as error:
        raise InvalidImageError(f"the image is truncated or damaged: {error}") from error


def _scans(data: bytes) -> int:
    """The number of scans of a JPEG, or of the first image in an MPO. Counting stops above what is accepted."""
    position, scans = 2, 0
    while scans <= _MOST_SCANS and (found := _JPEG_MARKER.search(data, position)):
        if data[found.start() + 1] == _END:
            break
        scans += data[found.start() + 1] == _SCAN
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return scans


def _whole_jpeg(data: bytes, image: Image.Image) -> Pixels | None:
    """The pixels of a JPEG, decoded by OpenCV and not turned; None where OpenCV cannot be used.

    OpenCV gives the same values as Pillow, but faster and with fewer copies. It cannot be used for other formats and
    for CMYK. Nor is it used where the end of the file is missing, which it would silently replace by grey.
    """
    if image.format not in _JPEGS or image.mode not in ("L", "RGB") or not data.endswith(_JPEG_END):
        return None
    pixels = None
    with suppress(cv2.error):  # then Pillow tries, and says what is wrong
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return pixels if pixels is not None and pixels.shape == (image.height, image.width, 3) else None


def _loaded(image: Image.Image) -> Pixels:
    """The pixels of an open image of any format, decoded by Pillow and not turned."""
    try:
        image.load()
    except MemoryError:
        raise
    except _DAMAGED as error:
        raise InvalidImageError(f"the {image.format} image is truncated or damaged: {error}") from error
    return np.asarray(_as_rgb(_as_16_bits(image)))


def _as_16_bits(image: Image.Image) -> Image.Image:
    """`image` with 16 bits a pixel, if it is a PGM of 16 bits. Pillow reads these as 32-bit integers."""
    if image.mode == "I" and image.format == "PPM":
        return Image.fromarray(np.asarray(image).astype(np.uint16))
    return image


def _orientation(image: Image.Image) -> object:
    """The EXIF orientation; None without one. It must be read once the pixels are loaded.

    Before that, a PNG may not have been read as far as its EXIF, and a TIFF still has an orientation that Pillow
    removes as it turns the pixels itself.
    """
    with suppress(*_DAMAGED):  # with broken EXIF the pixels are still usable
        return image.getexif().get(ExifTags.Base.Orientation)
    return None


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise UnsupportedImageError(f"pixels of mode {image.mode!r} (32 bits) are not served; accepted: 8 or 16 bits")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy an RGB image
