"""The camera: how it is tilted, and what it does to the image (softness, vignette, noise)."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from lseg_serve.demo.drawing.canvas import Canvas
from lseg_serve.demo.drawing.texture import Floats

_LARGEST_TILT = math.radians(6)
_LARGEST_MARGIN = 0.14


def choose_tilt(rng: np.random.Generator, width: int, height: int) -> float:
    """A tilt in radians, often none; long narrow images are tilted less, as they would need too wide a margin."""
    limit = min(_LARGEST_TILT, _LARGEST_MARGIN * min(width, height) / max(width, height))
    return float(rng.uniform(-limit, limit)) if rng.random() < 0.5 else 0.0


def margin_size(width: int, height: int, tilt: float) -> tuple[int, int]:
    """The (width, height) to paint so that the tilted image has no empty corners."""
    if tilt == 0:
        return width, height
    cos, sin = math.cos(tilt), abs(math.sin(tilt))
    return math.ceil(width * cos + height * sin) + 2, math.ceil(height * cos + width * sin) + 2


def tilted(
    canvas: Canvas, width: int, height: int, tilt: float
) -> tuple[Floats, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Image, classes and colours turned about the centre and cut to [height, width]; truth is never blended."""
    if tilt == 0:
        return canvas.image, canvas.classes, canvas.colours
    cos, sin = math.cos(tilt), math.sin(tilt)
    middle_x, middle_y = (canvas.width - 1) / 2, (canvas.height - 1) / 2
    out_x, out_y = (width - 1) / 2, (height - 1) / 2
    matrix = np.array(
        [[cos, -sin, middle_x - cos * out_x + sin * out_y], [sin, cos, middle_y - sin * out_x - cos * out_y]]
    )
    size, inverse = (width, height), cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(
        canvas.image, matrix, size, flags=cv2.INTER_LINEAR | inverse, borderMode=cv2.BORDER_REPLICATE
    )
    classes, colours = (
        cv2.warpAffine(plane, matrix, size, flags=cv2.INTER_NEAREST | inverse, borderMode=cv2.BORDER_REPLICATE)
        for plane in (canvas.classes, canvas.colours)
    )
    return (
        np.asarray(image, dtype=np.float32),
        np.asarray(classes, dtype=np.uint8),
        np.asarray(colours, dtype=np.uint8),
    )


def expose(image: Floats, rng: np.random.Generator, unit: float) -> npt.NDArray[np.uint8]:
    """The developed image, uint8 [H, W, 3], from colours 0..1."""
    height, width = image.shape[:2]
    softness = rng.uniform(0.0, 0.75) + rng.uniform(0, 0.6) * unit / 1400
    if softness > 0.35:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), softness), dtype=np.float32)
    xs = np.linspace(-1, 1, width, dtype=np.float32)[None] ** 2
    ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    gain = np.float32(rng.uniform(0.95, 1.06)) * (1 - np.float32(rng.uniform(0.03, 0.1)) * (xs + ys) * np.float32(0.5))
    developed = image * gain[..., None]
    grain = np.empty((height, width), dtype=np.float32)
    rng.standard_normal(out=grain, dtype=np.float32)
    developed += (grain * np.float32(rng.uniform(0.004, 0.018)))[..., None]
    developed *= 255
    return np.asarray(cv2.convertScaleAbs(np.maximum(developed, 0)), dtype=np.uint8)
