"""The drawn scenes of the page's gallery: what the drawing gives, small, and apart from what calibrates an export."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lseg_serve.demo.draw_gallery import GALLERY, SEEDS, draw_jpeg


@pytest.mark.parametrize("name", SEEDS)
def test_the_files_are_what_the_drawing_gives(name: str) -> None:
    path = GALLERY / f"{name}.jpg"
    assert path.stat().st_size < 150_000
    kept, drawn = (
        np.asarray(Image.open(io.BytesIO(content)), dtype=float)
        for content in (path.read_bytes(), draw_jpeg(SEEDS[name]))
    )
    assert kept.shape == drawn.shape == (640, 960, 3)
    assert np.abs(kept - drawn).mean() < 2  # JPEG encoders differ a little


def test_there_is_no_file_besides() -> None:
    assert {path.stem for path in GALLERY.iterdir()} == set(SEEDS)
