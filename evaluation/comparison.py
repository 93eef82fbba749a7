"""The images of a report: an image, its ground truth, the mask of the response, and where they differ."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from lseg_serve.evaluation.samples import Sample
from lseg_serve.evaluation.truth import IGNORED, read_truth

Pixels = npt.NDArray[np.uint8]

_WIDEST = 420  # pixels of an image in the report
_WRONG, _RIGHT, _NOT_COUNTED = (205, 40, 40), (232, 240, 232), (150, 150, 150)


def comparison(sample: Sample, mask_path: Path) -> list[str]:
    """Image, truth, mask and mistakes as data URIs."""
    with Image.open(mask_path) as png:
        colours = np.array(png.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
        mask = np.asarray(png)
    colours = np.vstack([colours, np.zeros((256 - len(colours), 3), dtype=np.uint8)])
    truth = read_truth(sample.truth, sample.rule)
    counted = truth != IGNORED
    shown_truth = colours[np.where(counted, truth, 255)]
    mistakes = np.where((truth == mask)[..., None], _RIGHT, _WRONG)
    mistakes = np.where(counted[..., None], mistakes, _NOT_COUNTED).astype(np.uint8)
    with Image.open(sample.image) as photo:
        image = ImageOps.exif_transpose(photo).convert("RGB")
    return [_uri(image, "JPEG"), *(_uri(Image.fromarray(x), "PNG") for x in (shown_truth, colours[mask], mistakes))]


def _uri(image: Image.Image, file_format: str) -> str:
    height = max(1, round(image.height * min(1, _WIDEST / image.width)))
    rule = Image.Resampling.BILINEAR if file_format == "JPEG" else Image.Resampling.NEAREST
    buffer = io.BytesIO()
    image.resize((min(_WIDEST, image.width), height), rule).save(buffer, file_format)
    return f"data:image/{file_format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
