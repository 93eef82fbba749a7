"""A small file of each kind of image that is served."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 - lets Pillow write JPEG XL
import tifffile
from PIL import Image

from tests.support.pictures import encoded, exif_orientation, gradient, png16


@lru_cache(maxsize=1)
def corpus() -> dict[str, bytes]:
    """Files of 40x24 pixels by the names of their kinds."""
    pixels = gradient(24, 40)
    image = Image.fromarray(pixels)
    grey16 = ((pixels[..., 0].astype(np.uint16) << 4) + 7).astype(np.uint16)
    files = {
        "jpeg": encoded(image, "JPEG", exif=exif_orientation(6)),
        "progressive": encoded(image, "JPEG", progressive=True),
        "cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "png": encoded(image, "PNG"),
        "interlaced": encoded(image.convert("P"), "PNG"),
        "png16": png16(grey16),
        "apng": encoded(image, "PNG", save_all=True, append_images=[image.rotate(90)]),
        "gif": encoded(image, "GIF", save_all=True, append_images=[image.rotate(180)]),
        "webp": encoded(image, "WEBP"),
        "lossless": encoded(image, "WEBP", lossless=True),
        "avif": encoded(image, "AVIF"),
        "jp2": encoded(image, "JPEG2000"),
        "jxl": encoded(image, "JXL"),
        "bmp": encoded(image, "BMP"),
        "bmp8": encoded(image.convert("P"), "BMP"),
        "tga": encoded(image, "TGA", compression="tga_rle"),
        "ico": encoded(image, "ICO", sizes=[(16, 16), (24, 24)]),
        "ppm": encoded(image, "PPM"),
        "pgm": b"P2\n3 2\n4095\n0 1 2\n3 4095 5\n",
        "tiff": encoded(image, "TIFF", compression="tiff_lzw"),
        "tiffjpeg": encoded(image, "TIFF", compression="jpeg"),
        "fax": encoded(image.convert("1"), "TIFF", compression="group4"),
        "heic": _heic(image),
    }
    for name, options in {
        "bands": {"photometric": "minisblack", "planarconfig": "separate"},
        "tiles": {"tile": (16, 16), "photometric": "rgb"},
        "bigtiff": {"bigtiff": True, "byteorder": ">", "photometric": "rgb"},
        "deflate": {"compression": "zlib", "predictor": True, "photometric": "rgb"},
        "floats": {"photometric": "minisblack"},
    }.items():
        file = io.BytesIO()
        array = {"bands": np.moveaxis(pixels, 2, 0), "floats": pixels[..., 0] / np.float32(255)}.get(name, pixels)
        tifffile.imwrite(file, array, **options)  # type: ignore[arg-type]
        files[name] = file.getvalue()
    return files


def _heic(image: Image.Image) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=50)
    return file.getvalue()
