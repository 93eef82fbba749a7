"""Draws the first image of the README: `python -m demo.front`, a scene beside the mask of a running server."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lseg_serve.client import LSegClient, Mask
from lseg_serve.demo.scenes import draw_scene

PICTURES = Path(__file__).parent / "pictures"
SCENE = PICTURES / "village.jpg"
FRONT = PICTURES / "front.jpg"

# A seed that no training or test draws, chosen by eye.
_SEED, _SIZE = 5_000_000, (1200, 800)
# Names, synonyms and colours as words.
_ABOVE = ("sky", "sun", "cloud", "airplane", "pink balloon", "mountain")
_LABELS = (*_ABOVE, "cottage", "rooftop", "street", "lawn", "cow", "sheep", "person")
_WIDTH = 800  # of each half, pixels
_LINE, _SWATCH, _MARGIN = 34, 18, 16


def draw_example() -> bytes:
    """The example scene as a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(draw_scene(_SEED, _SIZE).image).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def side_by_side(image: Image.Image, mask: Mask) -> Image.Image:
    """The image, its mask in colours beside it, and the legend of the labels that occur below both."""
    size = (_WIDTH, round(_WIDTH * image.height / image.width))
    colours = Image.open(io.BytesIO(mask.png)).convert("RGB").resize(size, Image.Resampling.NEAREST)
    entries = [entry for entry in mask.legend if mask.share(entry) > 0]
    columns = 7
    rows = -(-len(entries) // columns)
    page = Image.new("RGB", (2 * _WIDTH + _MARGIN, size[1] + _MARGIN + rows * _LINE), "white")
    page.paste(image.resize(size, Image.Resampling.LANCZOS), (0, 0))
    page.paste(colours, (_WIDTH + _MARGIN, 0))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=_SWATCH)
    for place, entry in enumerate(entries):
        left = place % columns * (page.width // columns) + _MARGIN
        top = size[1] + _MARGIN + place // columns * _LINE
        pen.rectangle((left, top, left + _SWATCH, top + _SWATCH), fill=entry.color)
        pen.text((left + _SWATCH + 8, top - 1), entry.name, fill="black", font=font)
    return page


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draw the first image of the README with a running server.")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    SCENE.write_bytes(draw_example())
    with LSegClient(options.url) as client:
        mask = client.segment(SCENE, _LABELS)
    assert not np.any(mask.indices == 255)
    side_by_side(Image.open(SCENE), mask).save(FRONT, quality=88)


if __name__ == "__main__":
    main()
