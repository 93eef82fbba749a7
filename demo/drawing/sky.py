"""The sky: its gradient, sun, moon, stars and clouds."""

import cv2
import numpy as np

from lseg_serve.demo.drawing.canvas import Canvas
from lseg_serve.demo.drawing.light import Light
from lseg_serve.demo.drawing.texture import Floats, noise, smoothstep
from lseg_serve.demo.vocabulary import CLASS_INDEX


def paint_sky(canvas: Canvas, rng: np.random.Generator, light: Light, cloudy: bool) -> None:
    """Fill the image with sky down to its horizon, then put sun or moon and clouds into it."""
    hour, rows = light.hour, canvas.horizon + 2
    heights = np.linspace(0, 1, rows, dtype=np.float32)
    stops = (0.0, 0.55, 1.0)
    bands = np.stack(
        [np.interp(heights, stops, shades) for shades in zip(hour.zenith, hour.middle, hour.horizon, strict=True)], 1
    ).astype(np.float32)
    canvas.image[:rows] = bands[:, None]
    canvas.image[rows:] = np.array(hour.horizon, dtype=np.float32)
    if hour.name == "night":
        _stars(canvas, rng, rows)
    _veil(canvas, rng, light, rows)
    if hour.moon and not (hour.sun and rng.random() < 0.3):
        _moon(canvas, rng, light)
    elif hour.sun:
        _sun(canvas, rng, light)
    if cloudy:
        _clouds(canvas, rng, light)


def _stars(canvas: Canvas, rng: np.random.Generator, rows: int) -> None:
    count = int(rng.integers(90, 220))
    xs, ys = rng.integers(0, canvas.width, count), (rng.random(count) ** 1.4 * rows * 0.9).astype(int)
    size = max(0, round(canvas.unit / 900))
    field = np.zeros((rows, canvas.width), dtype=np.float32)
    for x, y, power in zip(xs.tolist(), ys.tolist(), rng.uniform(0.15, 0.85, count).tolist(), strict=True):
        cv2.circle(field, (x, y), size, power, -1)
    canvas.image[:rows] += field[..., None] * np.array([0.9, 0.95, 1.0], dtype=np.float32)


def _veil(canvas: Canvas, rng: np.random.Generator, light: Light, rows: int) -> None:
    """Thin high cloud, too faint to be called one."""
    wisps = smoothstep(0.2, 2.4, noise(rng, (rows, canvas.width), 0.5 * canvas.unit, stretch=3.5))
    strength = 0.1 if light.night else 0.28
    wisps *= np.float32(rng.uniform(0, strength))
    canvas.image[:rows] += (np.array(light.hour.horizon, dtype=np.float32) - canvas.image[:rows]) * wisps[..., None]


def _disc(canvas: Canvas, x: float, y: float, radius: float) -> tuple[Floats, Floats]:
    """Distance [rows, W] in px from a centre for the rows of the sky, and the disc's coverage."""
    xs = np.arange(canvas.width, dtype=np.float32)[None] - np.float32(x)
    ys = np.arange(canvas.horizon + 2, dtype=np.float32)[:, None] - np.float32(y)
    distance = np.sqrt(xs * xs + ys * ys)
    return distance, np.clip(np.float32(radius + 0.5) - distance, 0, 1)


def _sun(canvas: Canvas, rng: np.random.Generator, light: Light) -> None:
    radius = canvas.unit * rng.uniform(0.045, 0.075)
    x = canvas.width * (0.5 + 0.42 * light.side)
    y = canvas.horizon * (1 - light.height) - (0 if light.height < 0.3 else radius * 0.5)
    distance, cover = _disc(canvas, x, max(radius * 1.3, y), radius)
    low = light.height < 0.45
    glow = np.array([1.0, 0.72, 0.38] if low else [1.0, 0.97, 0.85], dtype=np.float32)
    reach = canvas.unit * (0.3 if low else 0.16)
    halo = np.exp(distance * np.float32(-1 / reach)) * np.float32(0.62)
    heaven = canvas.image[: canvas.horizon + 2]
    heaven += (glow - heaven) * halo[..., None]
    face = np.array([1.0, 0.9, 0.55] if low else [1.0, 0.98, 0.72], dtype=np.float32)
    core = np.clip(1.25 - distance / np.float32(radius), 0, 1)[..., None] * np.float32(0.25)
    canvas.lay(0, np.minimum(face + core, 1), cover, CLASS_INDEX["sun"])


def _moon(canvas: Canvas, rng: np.random.Generator, light: Light) -> None:
    radius = canvas.unit * rng.uniform(0.045, 0.07)
    x, y = canvas.width * (0.5 + 0.4 * light.side), canvas.horizon * rng.uniform(0.15, 0.45)
    distance, cover = _disc(canvas, x, max(radius * 1.3, y), radius)
    halo = np.exp(distance * np.float32(-1 / (canvas.unit * 0.12))) * np.float32(0.38)
    heaven = canvas.image[: canvas.horizon + 2]
    heaven += (np.array([0.72, 0.8, 0.95], dtype=np.float32) - heaven) * halo[..., None]
    seas = smoothstep(0.1, 1.1, noise(rng, cover.shape, radius * 3.2)) * np.float32(0.2)
    face = np.array([0.95, 0.95, 0.9], dtype=np.float32) * (1 - seas[..., None])
    canvas.lay(0, face, cover, CLASS_INDEX["moon"])


def _clouds(canvas: Canvas, rng: np.random.Generator, light: Light) -> None:
    """Heaped clouds, small and flat near the horizon, larger above."""
    count = int(rng.integers(2, 6))
    for height in np.sort(rng.uniform(0.12, 0.88, count))[::-1].tolist():
        size = canvas.unit * (1.0 - 0.62 * height) * rng.uniform(0.36, 0.7)
        _cloud(canvas, rng, light, float(rng.uniform(0, canvas.width)), canvas.horizon * height, size)


def _cloud(canvas: Canvas, rng: np.random.Generator, light: Light, x: float, y: float, size: float) -> None:
    """One cloud `size` px wide around (x, y): puffs over a flat base, made ragged by noise, lit from the sun's side."""
    width, height = int(size * 1.3) + 8, int(size * 0.6) + 6
    left, top = int(x - width / 2), int(y - height * 0.6)
    x0, x1, y0, y1 = max(0, left), min(canvas.width, left + width), max(0, top), min(canvas.horizon, top + height)
    if x1 - x0 < 4 or y1 - y0 < 4:
        return
    body = cv2.resize(_puffs(rng), (width, height), interpolation=cv2.INTER_CUBIC)
    rough = noise(rng, (height, width), size * 0.75)
    density = body + np.clip(rough, -2.2, 2.2) * np.float32(0.13)
    cover = smoothstep(0.36, 0.56, density)
    shift = max(1, int(height * 0.1))
    moved = np.array([[1, 0, -np.sign(light.side) * shift * 0.7], [0, 1, shift]], dtype=np.float32)
    above = cv2.warpAffine(density, moved, (width, height), borderMode=cv2.BORDER_REPLICATE)
    lit = np.clip(0.62 + (density - above) * 1.15 - np.linspace(-0.1, 0.3, height, dtype=np.float32)[:, None], 0, 1)
    bright, dim = _cloud_shades(light)
    rgb = dim + (bright - dim) * lit[..., None]
    window = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    cover, rgb = cover[window] * np.float32(0.97), rgb[window]
    view = canvas.image[y0:y1, x0:x1]
    view += (rgb - view) * cover[..., None]
    canvas.classes[y0:y1, x0:x1][cover >= 0.5] = CLASS_INDEX["cloud"]


def _puffs(rng: np.random.Generator) -> Floats:
    """The rough body of a cloud, float32 [56, 112], about 0..1."""
    body = np.zeros((56, 112), dtype=np.float32)
    for _ in range(int(rng.integers(7, 13))):
        across = float(rng.normal(0, 0.42))
        radius = rng.uniform(6, 15) * (1 - 0.45 * min(1.0, abs(across)))
        centre = (
            int(56 + 38 * np.clip(across, -1, 1)),
            int(42 - radius * 0.72 - rng.uniform(0, 7) * (1 - abs(across))),
        )
        cv2.circle(body, centre, int(radius), 1.0, -1)
    return np.asarray(cv2.GaussianBlur(body, (0, 0), 3.0), dtype=np.float32)


def _cloud_shades(light: Light) -> tuple[Floats, Floats]:
    shades = {
        "noon": ((1.0, 1.0, 1.0), (0.72, 0.78, 0.86)),
        "morning": ((1.0, 0.97, 0.93), (0.76, 0.76, 0.82)),
        "golden": ((1.0, 0.93, 0.82), (0.74, 0.64, 0.66)),
        "dusk": ((1.0, 0.68, 0.58), (0.46, 0.34, 0.5)),
        "night": ((0.36, 0.4, 0.52), (0.17, 0.2, 0.31)),
        "overcast": ((0.95, 0.96, 0.97), (0.6, 0.63, 0.68)),
    }
    bright, dim = shades[light.hour.name]
    return np.array(bright, dtype=np.float32), np.array(dim, dtype=np.float32)
