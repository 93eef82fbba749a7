"""Image files of every kind, made here so that what is in them is known."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112  # EXIF's tag


def gradient(height: int, width: int) -> Pixels:
    """A smooth picture without any symmetry, RGB [H, W, 3]: lossy formats keep it nearly as it is."""
    rows, columns = np.mgrid[0:height, 0:width]
    down, right = rows / max(height - 1, 1), columns / max(width - 1, 1)
    return np.stack([40 + 170 * right, 30 + 190 * down, 220 - 150 * right * down], axis=-1).astype(np.uint8)


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    """Random RGB [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image | Pixels, file_format: str = "PNG", **options: Any) -> bytes:
    """The file that Pillow writes for `image`."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, file_format, **options)
    return buffer.getvalue()


def exif_orientation(orientation: int) -> bytes:
    """EXIF data that says nothing but the orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif.tobytes()


def stored(upright: Pixels, orientation: int) -> Pixels:
    """The pixels as a camera stores them, so that a viewer obeying `orientation` shows `upright` (EXIF 2.3, 4.6.4)."""
    arrangements: dict[int, Pixels] = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    return np.ascontiguousarray(arrangements[orientation])


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, color_type: int, rows: bytes) -> bytes:
    """A PNG by hand: `rows` are the unfiltered scanlines, each with its filter byte in front."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(png_chunk(kind, content) for kind, content in chunks)


def png16(pixels: npt.NDArray[np.uint16]) -> bytes:
    """A PNG with 16 bits a channel of `pixels` [H, W], [H, W, 2] (grey, alpha), [H, W, 3] or [H, W, 4]."""
    height, width = pixels.shape[:2]
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in pixels)
    return png(width, height, 16, color_type, rows)
