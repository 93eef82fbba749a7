"""What may be given as an image, and the bytes that are sent for it."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from lseg_serve.client.errors import BadInput, TimedOut, Unreachable
from lseg_serve.client.messages import Operation, Request, ask

# A path or URL, the bytes of an image file, a Pillow image, or pixels.
ImageInput: TypeAlias = "str | PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[Any]"

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_TIFF_MODES = ("CMYK", "I", "F")
_OTHER_MODES = {"RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
_FAST = 1  # of PNG's compression levels: lossless like the others, and the network between is rarely the slowest


def encoded(image: ImageInput, timeout: float, most_bytes: int) -> Operation[bytes]:
    """The bytes of the image file to send.

    A file's bytes are sent as they are, and so upright as the file says. A Pillow image or an array is sent as its own
    pixels without loss, so the mask has its height and width; an orientation that Pillow found in a file's EXIF data
    is not applied.

    Args:
        image: a path, a URL (http or https), the bytes of an image file, a Pillow image, or an array: uint8 [H, W],
            [H, W, 1], [H, W, 3] (RGB) or [H, W, 4] (RGBA), or uint16 [H, W] or [H, W, 1].
        timeout: seconds for a download.
        most_bytes: of a download.

    Raises:
        BadInput: it is none of these, or cannot be read.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str) and image.lower().startswith(("http://", "https://")):
        return (yield from _downloaded(image, timeout, most_bytes))
    if isinstance(image, str | PathLike):
        try:
            return Path(image).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            raise BadInput(f"the image {str(image)!r} cannot be read: {error}") from error
    if isinstance(image, Image.Image):
        return _file_of(image)
    if isinstance(image, np.ndarray):
        return _file_of(_picture(image))
    raise BadInput(
        f"the image is of type {type(image).__name__}; accepted: a path, a URL, the bytes of an image file, a Pillow "
        "image, or a NumPy array"
    )


def _downloaded(url: str, timeout: float, most_bytes: int) -> Operation[bytes]:
    headers = {"Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}
    request = Request("GET", url, timeout, headers=headers, follow_redirects=True, most_bytes=most_bytes)
    try:
        reply = yield from ask(request)
    except (Unreachable, TimedOut, BadInput) as error:
        raise BadInput(f"the image cannot be fetched: {error}") from error
    if not reply.ok:
        raise BadInput(f"the image cannot be fetched: {url} answers {reply.status} {reply.reason}")
    if len(reply.body) > most_bytes:
        raise BadInput(f"the image at {url} has more than {most_bytes} bytes, which is the limit (max_image_bytes)")
    return reply.body


def _picture(pixels: npt.NDArray[Any]) -> Image.Image:
    shape = pixels.shape[:2] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels.shape
    grey = len(shape) == 2
    accepted = (pixels.dtype == np.uint8 and (grey or (len(shape) == 3 and shape[2] in (3, 4)))) or (
        pixels.dtype == np.uint16 and grey
    )
    if not accepted or pixels.size == 0:
        raise BadInput(
            f"the image is an array of {pixels.dtype} {list(pixels.shape)}; accepted: uint8 [H, W], [H, W, 1], "
            "[H, W, 3] or [H, W, 4], or uint16 [H, W] or [H, W, 1]"
        )
    return Image.fromarray(np.ascontiguousarray(pixels.reshape(shape)))


def _file_of(image: Image.Image) -> bytes:
    """`image` as a PNG, or where PNG cannot hold its values, as a TIFF."""
    buffer = io.BytesIO()
    try:
        if image.mode in _TIFF_MODES:
            image.save(buffer, "TIFF")
        elif image.mode in _PNG_MODES:
            image.save(buffer, "PNG", compress_level=_FAST)
        else:
            image.convert(_OTHER_MODES[image.mode]).save(buffer, "PNG", compress_level=_FAST)
    except KeyError as error:
        accepted = ", ".join((*_PNG_MODES, *_TIFF_MODES, *_OTHER_MODES))
        raise BadInput(f"the image has Pillow's mode {image.mode}; accepted: {accepted}") from error
    except (OSError, ValueError, SyntaxError, SystemError) as error:
        raise BadInput(f"the image cannot be written as a file: {error}") from error
    return buffer.getvalue()
