"""A photo as a file of every kind that is served, and of those that cost the most."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pillow_heif
import pillow_jxl  # noqa: F401  # Pillow's encoder of JPEG XL
import tifffile
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Written = Callable[[Pixels], bytes]


def _by_pillow(kind: str, mode: str = "RGB", **options: Any) -> Written:
    def write(pixels: Pixels) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
        return buffer.getvalue()

    return write


def _heic(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, quality=80)
    return buffer.getvalue()


def _photoshop(pixels: Pixels) -> bytes:
    """Photoshop's flattened picture, band by band and without compression."""
    height, width = pixels.shape[:2]
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, height, width, 8, 3) + bytes(12)
    return head + b"\0\0" + np.moveaxis(pixels, 2, 0).tobytes()


def _png_16(pixels: Pixels) -> bytes:
    found, content = cv2.imencode(".png", pixels[..., ::-1].astype(np.uint16) << 8, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert found
    return content.tobytes()


def _icon(pixels: Pixels) -> bytes:
    """An icon that holds a PNG; its header knows no larger size than 256, and viewers believe the PNG."""
    content = _by_pillow("PNG", compress_level=1)(pixels)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 24, len(content), 22) + content


def _tiff(kind: str, **options: Any) -> Written:
    """As numbers of a type: integers fill their type, floats lie between 0 and 1."""

    def write(pixels: Pixels) -> bytes:
        largest = np.iinfo(kind).max if np.dtype(kind).kind in "ui" else 1.0
        values = (pixels / 255 * largest).astype(kind)
        if options.get("planarconfig") == "separate":
            values = np.moveaxis(values, 2, 0).copy()
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, values, photometric="rgb", **options)
        return buffer.getvalue()

    return write


def _bands(count: int) -> Written:
    """Bands of 12 bits in 16, as satellites have them."""

    def write(pixels: Pixels) -> bytes:
        bands = np.dstack([pixels[..., band % 3] for band in range(count)]).astype(np.uint16) << 4
        extra = ["unspecified"] * (count - 1)
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, bands, photometric="minisblack", planarconfig="contig", extrasamples=extra)
        return buffer.getvalue()

    return write


def _bit_fields(pixels: Pixels) -> bytes:
    """A BMP with red in its lowest bits and an alpha."""
    rows = np.dstack([pixels, np.full(pixels.shape[:2], 200, np.uint8)])[::-1].tobytes()
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    return _bmp(pixels, 32, 3, 124, masks.ljust(84, b"\0"), rows)


def _runs_of_one(pixels: Pixels) -> bytes:
    """A BMP in run lengths each of which is one pixel: the most work for a pixel."""
    grey = pixels[::-1, :, 1]
    runs = np.stack([np.ones_like(grey), grey], axis=-1).reshape(len(grey), -1)
    rows = b"".join(row.tobytes() + b"\0\0" for row in runs) + b"\0\1"
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    return _bmp(pixels, 8, 1, 40, palette, rows)


def _bmp(pixels: Pixels, bits: int, compression: int, header: int, behind: bytes, rows: bytes) -> bytes:
    height, width = pixels.shape[:2]
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(rows), 0, 0, 0, 0) + behind
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + rows


def _ppm(kind: str, highest: int) -> Written:
    """P3 in plain text, P6 in bytes."""

    def write(pixels: Pixels) -> bytes:
        values = pixels.astype(np.uint32) * highest // 255
        head = f"{kind}\n{pixels.shape[1]} {pixels.shape[0]}\n{highest}\n".encode()
        if kind == "P3":
            return head + " ".join(map(str, values.ravel().tolist())).encode()
        return head + values.astype(np.uint8 if highest < 256 else ">u2").tobytes()

    return write


def _pfm(pixels: Pixels) -> bytes:
    head = f"PF\n{pixels.shape[1]} {pixels.shape[0]}\n-1.0\n".encode()
    return head + (pixels[::-1] / 255).astype("<f4").tobytes()


FILES: Mapping[str, Written] = {
    "JPEG": _by_pillow("JPEG", quality=92),
    "JPEG, progressive": _by_pillow("JPEG", quality=92, progressive=True),
    "JPEG, CMYK": _by_pillow("JPEG", "CMYK", quality=92),
    "PNG": _by_pillow("PNG", compress_level=1),
    "PNG, with alpha": _by_pillow("PNG", "RGBA", compress_level=1),
    "PNG, 16 bits": _png_16,
    "PNG, palette": _by_pillow("PNG", "P", compress_level=1),
    "WebP": _by_pillow("WEBP", quality=90, method=0),
    "WebP, lossless": _by_pillow("WEBP", lossless=True, quality=0, method=0),
    "AVIF": _by_pillow("AVIF", quality=80, speed=10),
    "HEIC": _heic,
    "JPEG XL": _by_pillow("JXL", quality=90, effort=3),
    "JPEG XL, lossless": _by_pillow("JXL", lossless=True, effort=1),
    "JPEG 2000": _by_pillow("JPEG2000"),
    "Photoshop": _photoshop,
    "Targa": _by_pillow("TGA"),
    "Targa, run lengths": _by_pillow("TGA", compression="tga_rle"),
    "icon with a PNG": _icon,
    "GIF": _by_pillow("GIF"),
    "BMP": _by_pillow("BMP"),
    "BMP, bit fields with alpha": _bit_fields,
    "BMP, run lengths of one pixel": _runs_of_one,
    "PPM": _ppm("P6", 255),
    "PPM, highest value 100": _ppm("P6", 100),
    "PPM, 16 bits": _ppm("P6", 65535),
    "PPM, plain text": _ppm("P3", 255),
    "PFM": _pfm,
    "TIFF": _tiff("uint8"),
    "TIFF, LZW": _by_pillow("TIFF", compression="tiff_lzw"),
    "TIFF, JPEG": _by_pillow("TIFF", compression="jpeg"),
    "TIFF, 16 bits": _tiff("uint16"),
    "TIFF, 16 bits, LZW of differences, tiles": _tiff("uint16", compression="lzw", predictor=True, tile=(256, 256)),
    "TIFF, 16 bits, band by band": _tiff("uint16", planarconfig="separate"),
    "TIFF, 8 bands of 12 bits in 16": _bands(8),
    "TIFF, float32, deflated differences": _tiff("float32", compression="zlib", predictor=True),
    "TIFF, float64": _tiff("float64"),
}
