"""A JPEG to pixels: as the server decodes it, beside Pillow."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from lseg_serve.bench.rows import Row
from lseg_serve.bench.setting import jpeg, photo_at
from lseg_serve.bench.timing import interleaved
from lseg_serve.segmenter import decode_image

_SIZES = ((640, 480), (1920, 1080), (4000, 3000), (6000, 4000))
_TURNED = 6  # EXIF's number for a camera that was held upright
_MOST_PIXELS = 100_000_000


def measure(runs: int) -> list[Row]:
    """Four rows for each size: Pillow and this project, for a camera held level and one held upright."""
    return [row for size in _SIZES for orientation in (None, _TURNED) for row in _rows(size, orientation, runs)]


def _rows(size: tuple[int, int], orientation: int | None, runs: int) -> list[Row]:
    data = jpeg(photo_at(*size).pixels, orientation)
    naive, served = partial(_by_pillow, data), partial(decode_image, data, _MOST_PIXELS)
    agreement = float(np.mean(naive() == served()))
    times = interleaved({"naive": naive, "served": served}, runs)
    return [
        Row(
            scenario="decoding",
            path=name,
            where="process",
            labels=0,
            image=f"{size[0]}x{size[1]}",
            ratio=times["naive"].median / each.median,
            agreement=None if name == "naive" else agreement,
            note="turned by EXIF" if orientation == _TURNED else "",
            **each.columns(),  # type: ignore[arg-type]
        )
        for name, each in times.items()
    ]


def _by_pillow(data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image))
