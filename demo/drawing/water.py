"""Water: it mirrors what is above the horizon, broken by ripples that widen towards the viewer."""

import cv2
import numpy as np

from lseg_serve.demo.drawing.canvas import Canvas
from lseg_serve.demo.drawing.land import Plane
from lseg_serve.demo.drawing.light import Light
from lseg_serve.demo.drawing.texture import Floats, sample
from lseg_serve.demo.vocabulary import CLASS_INDEX


def paint_water(canvas: Canvas, rng: np.random.Generator, light: Light, plane: Plane, edge: Floats, last: int) -> None:
    """Cover the ground with water from the `edge` [W] (row in px) down to row `last`; call it after what it mirrors."""
    top = max(canvas.horizon, int(edge.min()) - 1)
    part = plane.rows(top - canvas.horizon, last - canvas.horizon)
    if part.near.shape[0] == 0:
        return
    ripples = _ripples(rng, part)
    mirrored = _mirror(canvas, part, ripples, top)
    body = np.array(_body(rng), dtype=np.float32) * np.array(light.hour.ambient, dtype=np.float32)
    # Fresnel: looking down near the lower edge one sees into the water, far away it is a mirror.
    share = np.clip(0.56 - 0.44 * part.near + 0.1 * ripples, 0.12, 0.7)
    # What shines is mirrored brightly from any angle.
    share = np.clip(share + 0.9 * np.clip(mirrored[..., 1] - 0.72, 0, 1), 0, 0.8)
    rgb = body + (mirrored - body) * share[..., None]
    rgb *= (1 + 0.1 * np.clip(ripples, -1.5, 2))[..., None]
    _glitter(canvas, light, part, ripples, rgb)
    ys = np.arange(top, top + part.near.shape[0], dtype=np.float32)[:, None]
    cover = np.clip(ys - edge[None] + 0.5, 0, 1).astype(np.float32)
    canvas.lay(top, rgb, cover, CLASS_INDEX["water"])


def _body(rng: np.random.Generator) -> tuple[float, float, float]:
    choices = ((0.05, 0.26, 0.42), (0.04, 0.36, 0.45), (0.1, 0.32, 0.38))
    return choices[int(rng.integers(len(choices)))]


def _ripples(rng: np.random.Generator, plane: Plane) -> Floats:
    """Ripple height [h, w], about -2..2, finer and calmer far away."""
    shift = rng.random(4, dtype=np.float32)
    along = np.broadcast_to(plane.along, plane.across.shape)
    swell = sample(plane.across * 0.12 + shift[0], along * 0.55 + shift[1])
    small = sample(plane.across * 0.35 + shift[2], along * 1.9 + shift[3], "ridged")
    calm = 0.35 + 0.65 * plane.near
    result: Floats = ((0.6 * swell + 0.6 * small) * calm).astype(np.float32)
    return result


def _mirror(canvas: Canvas, plane: Plane, ripples: Floats, top: int) -> Floats:
    """The image above the horizon upside down, shaken by the ripples."""
    height, width = ripples.shape
    below = np.arange(top - canvas.horizon, top - canvas.horizon + height, dtype=np.float32)[:, None]
    stretch = min(1.6, (canvas.horizon - 2) / max(1, canvas.height - canvas.horizon))
    shake = ripples * plane.near * np.float32(canvas.unit * 0.035)
    ys = np.clip(canvas.horizon - 1 - below * stretch - np.abs(shake), 0, canvas.horizon - 1)
    xs = np.arange(width, dtype=np.float32)[None] + shake * np.float32(0.5)
    found = cv2.remap(canvas.image, xs, ys.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(found, dtype=np.float32)


def _glitter(canvas: Canvas, light: Light, plane: Plane, ripples: Floats, rgb: Floats) -> None:
    """Sparkles on the crests below a low sun or the moon."""
    if not (light.hour.sun or light.hour.moon):
        return
    xs = np.arange(canvas.width, dtype=np.float32)[None] / canvas.width
    centre = 0.5 + 0.42 * light.side
    column = np.exp(-(((xs - centre) / (0.05 + 0.1 * plane.near)) ** 2))
    crest = np.clip(ripples - 0.25, 0, 1) * column * np.float32(0.7 if light.height < 0.5 else 0.35)
    shine = np.array([0.8, 0.85, 0.95] if light.hour.moon else [1.0, 0.9, 0.7], dtype=np.float32)
    rgb += (shine - rgb) * np.clip(crest, 0, 0.9)[..., None]
