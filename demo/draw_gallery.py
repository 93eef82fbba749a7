"""Draws the scenes that the page offers beside the first: `python -m demo.draw_gallery` writes them to demo/gallery/.

They lie in a folder of their own, because exports in int8 are calibrated on demo/pictures and demo/photos.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from PIL import Image

from lseg_serve.demo.scenes import draw_scene

GALLERY: Final = Path(__file__).parent / "gallery"

# Seeds that no training or test draws, chosen by eye.
SEEDS: Final = {"beach": 6_000_008, "lake": 6_000_003, "town": 6_000_012, "winter": 6_000_020, "desert": 6_000_000}
_SIZE: Final = (960, 640)


def draw_jpeg(seed: int) -> bytes:
    """The scene of `seed` as a JPEG, 960x640."""
    buffer = io.BytesIO()
    Image.fromarray(draw_scene(seed, _SIZE).image).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def main() -> None:
    """The command line; it has no options."""
    GALLERY.mkdir(exist_ok=True)
    for name, seed in SEEDS.items():
        (GALLERY / f"{name}.jpg").write_bytes(draw_jpeg(seed))


if __name__ == "__main__":
    main()
