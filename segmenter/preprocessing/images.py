"""Bytes of an image file -> upright RGB pixels, or an error that says what is wrong with them."""

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

# The formats of photos and of annotation tools. Pillow's others stay closed: some of them start other programs.
Image.init()  # an explicit list of formats is looked up without loading any
IMAGE_FORMATS = tuple(
    name for name in ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM") if name in Image.OPEN
)

# The limit on pixels is this module's, checked before anything is decoded; Pillow's own would only warn.
Image.MAX_IMAGE_PIXELS = None

# The longest side of a JPEG, and of any image: one row of scores for 255 labels then takes 67 MB and not gigabytes.
_LONGEST_SIDE = 65_535

_JPEGS = ("JPEG", "MPO")  # an MPO is several, one behind the other
_JPEG_END = b"\xff\xd9"
# A progressive JPEG has about ten scans; each further one is a pass over the whole image for a few bytes of file.
_MOST_SCANS = 100
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # those with a length behind them, and the end
_SCAN, _END = 0xDA, _JPEG_END[1]

# By EXIF orientation, what makes stored pixels upright. OpenCV does it several times faster than Pillow or NumPy.
_TURNS: dict[object, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: lambda pixels: cv2.transpose(pixels),
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}

# PPM as decimal text: half a minute to decode at the size of an upload.
_PLAIN_PPM = (b"P1", b"P2", b"P3")

# First bytes that only an image has, so that one cut short within its header is not called something else.
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")

# Whatever Pillow's decoders raise for damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, RuntimeError)


def decode_image(data: bytes, max_pixels: int) -> Pixels:
    """The first frame of the image file `data`, upright by its EXIF orientation, as RGB uint8 [H, W, 3].

    Transparent pixels are laid over white, as viewers show them; 16-bit grey keeps its upper 8 bits.

    Raises:
        UnsupportedImageError: no image, or a kind of image that is not served.
        ImageTooLargeError: more than `max_pixels` pixels, found before any of them is decoded.
        InvalidImageError: empty, truncated or damaged.
    """
    if not data:
        raise InvalidImageError("the image is empty (0 bytes)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata, which a served image may well have
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
    """How many scans a JPEG has, up to the end of its first picture; counting stops above what is accepted."""
    position, scans = 2, 0
    while scans <= _MOST_SCANS and (found := _JPEG_MARKER.search(data, position)):
        if data[found.start() + 1] == _END:
            break
        scans += data[found.start() + 1] == _SCAN
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return scans


def _whole_jpeg(data: bytes, image: Image.Image) -> Pixels | None:
    """The pixels of a JPEG by OpenCV, not turned: Pillow's own values sooner, and without its copies of them.

    None for any other `image`, for one in CMYK, and for one whose end is missing, which OpenCV would pad with grey.
    """
    if image.format not in _JPEGS or image.mode not in ("L", "RGB") or not data.endswith(_JPEG_END):
        return None
    pixels = None
    with suppress(cv2.error):  # Pillow says what is wrong
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return pixels if pixels is not None and pixels.shape == (image.height, image.width, 3) else None


def _loaded(image: Image.Image) -> Pixels:
    """The pixels of any image that is open, not turned."""
    try:
        image.load()
    except MemoryError:
        raise
    except _DAMAGED as error:
        raise InvalidImageError(f"the {image.format} image is truncated or damaged: {error}") from error
    return np.asarray(_as_rgb(_as_16_bits(image)))


def _as_16_bits(image: Image.Image) -> Image.Image:
    """Pillow reads a PGM of 16 bits as 32-bit integers, which no other file that is served may hold."""
    if image.mode == "I" and image.format == "PPM":
        return Image.fromarray(np.asarray(image).astype(np.uint16))
    return image


def _orientation(image: Image.Image) -> object:
    """What EXIF says, once the pixels are there: Pillow turns a TIFF itself, and a PNG may say it behind them."""
    with suppress(*_DAMAGED):  # broken EXIF does not make the pixels any less usable
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
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy
