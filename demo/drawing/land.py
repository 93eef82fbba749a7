"""The ground and what closes it off: mountains behind, and bands of grass, sand, snow, field and road in front."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from lseg_serve.demo.drawing.canvas import Canvas
from lseg_serve.demo.drawing.light import Light
from lseg_serve.demo.drawing.texture import Floats, line_noise, noise, sample, smoothstep
from lseg_serve.demo.vocabulary import CLASS_INDEX


@dataclass(frozen=True)
class Plane:
    """The flat ground seen in perspective: coordinates float32 of each pixel below the horizon.

    `across` [h, w] and `along` [h, 1] are in image units on the ground; `near` [h, 1] runs 0 (horizon) to 1.
    """

    across: Floats
    along: Floats
    near: Floats

    def rows(self, first: int, last: int | None = None) -> "Plane":
        """The part between two rows, counted from the horizon."""
        cut = slice(max(0, first), last)
        return Plane(self.across[cut], self.along[cut], self.near[cut])


def ground_plane(canvas: Canvas) -> Plane:
    """The plane of the rows from the horizon down."""
    rows = canvas.height - canvas.horizon
    near = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    along = np.float32(1) / (near + np.float32(0.07))
    xs = (np.arange(canvas.width, dtype=np.float32)[None] - canvas.width / 2) / np.float32(canvas.unit)
    return Plane(xs.astype(np.float32) * along, along, near)


def paint_mountains(canvas: Canvas, rng: np.random.Generator, light: Light) -> None:
    """One to three ranges, the farther ones paler, with snow on high peaks."""
    layers = int(rng.integers(1, 4))
    tone = np.array(((0.36, 0.38, 0.44), (0.44, 0.36, 0.33), (0.3, 0.36, 0.42))[int(rng.integers(3))], dtype=np.float32)
    snowy = rng.random() < 0.55
    for layer in range(layers):
        closeness = (layer + 1) / layers
        height = canvas.horizon * rng.uniform(0.5, 0.85) * (1.2 - 0.65 * closeness)
        _range(canvas, rng, light, tone, height, closeness, snowy and layer == 0)


def _range(
    canvas: Canvas, rng: np.random.Generator, light: Light, tone: Floats, height: float, closeness: float, snowy: bool
) -> None:
    ridge = line_noise(rng, canvas.width, canvas.width / canvas.unit * rng.uniform(2.5, 4.5), octaves=6, gain=0.45)
    # Squeezed at the foot and stretched at the top: peaks and saddles instead of a wall of even height.
    raised = np.clip(0.5 + 0.36 * ridge, 0.08, 1.0) ** 1.35
    tops = canvas.horizon - height * (0.12 + 0.88 * raised)
    start, stop = max(0, int(tops.min()) - 1), canvas.horizon + 1
    if stop - start < 3:
        return
    ys = np.arange(start, stop, dtype=np.float32)[:, None]
    cover = np.clip(ys - tops[None] + 0.5, 0, 1)
    rough = noise(rng, (stop - start, canvas.width), canvas.unit * 0.7, "ridged", stretch=0.9)
    slope = np.gradient(rough, axis=1) * np.float32(canvas.unit * 0.022 * -np.sign(light.side))
    relief = np.clip(1 + slope * 0.32 + rough * 0.07, 0.5, 1.5)[..., None]
    rgb = tone * relief
    if snowy:
        line = (canvas.horizon - ys) / np.float32(height) - np.float32(0.42) + rough * np.float32(0.1)
        white = smoothstep(-0.02, 0.06, line)
        rgb = (
            rgb
            + (np.array([0.95, 0.97, 1.0], dtype=np.float32) * np.clip(relief * 0.95, 0.72, 1.05) - rgb)
            * white[..., None]
        )
    rgb = rgb * np.array(light.hour.ambient, dtype=np.float32)
    fade = (0.16 + 0.42 * light.haze) * (1.25 - closeness) + 0.3 * smoothstep(
        canvas.horizon - height * 0.7, canvas.horizon, ys
    )
    haze = np.array(light.hour.horizon, dtype=np.float32) * 0.8 + np.array(light.hour.middle, dtype=np.float32) * 0.2
    rgb += (haze - rgb) * np.clip(fade, 0, 0.8)[..., None]
    canvas.lay(start, rgb, cover, CLASS_INDEX["mountain"])


def band_edge(canvas: Canvas, rng: np.random.Generator, start: float, wave: float) -> Floats:
    """The upper edge [W] in px of a ground that begins at depth `start`, softly waving by `wave`."""
    if start <= 0:
        return np.full(canvas.width, canvas.horizon, dtype=np.float32)
    line = line_noise(rng, canvas.width, 2.0 * canvas.width / canvas.unit, octaves=2, gain=0.3)[None]
    smooth = cv2.GaussianBlur(line, (0, 0), max(1.0, 0.04 * canvas.unit))[0]
    rows = canvas.height - canvas.horizon
    return np.asarray(canvas.horizon + rows * (start + wave * smooth), dtype=np.float32)


def paint_band(
    canvas: Canvas, rng: np.random.Generator, light: Light, plane: Plane, material: str, edge: Floats, last: int
) -> None:
    """Cover the ground with `material` from the `edge` [W] (row in px) down to row `last`."""
    first = max(canvas.horizon, int(edge.min()) - 1)
    cut = plane.rows(first - canvas.horizon, last - canvas.horizon)
    if cut.near.shape[0] == 0:
        return
    rgb = MATERIALS[material](rng, cut, canvas) * _lit(light, material)
    # Far ground fades into the air of the horizon.
    fade = np.exp(cut.near * -7) * np.float32(0.1 + 0.4 * light.haze)
    rgb += (np.array(light.hour.horizon, dtype=np.float32) - rgb) * fade[..., None]
    ys = np.arange(first, first + cut.near.shape[0], dtype=np.float32)[:, None]
    canvas.lay(first, rgb, np.clip(ys - edge[None] + 0.5, 0, 1), CLASS_INDEX[material])


def paint_hills(canvas: Canvas, rng: np.random.Generator, light: Light, material: str) -> None:
    """One or two soft hills or dunes of `material` that rise above the horizon."""
    dark, bright = _HILLS[material]
    for layer in range(int(rng.integers(1, 3))):
        height = canvas.horizon * rng.uniform(0.1, 0.22) * (1 - 0.35 * layer)
        line = line_noise(rng, canvas.width, canvas.width / canvas.unit * 1.4, octaves=1)
        line = cv2.GaussianBlur(line[None], (0, 0), max(1.0, canvas.unit * 0.06))[0]
        tops = canvas.horizon - height * (0.55 + 0.75 * line)
        start = max(0, int(tops.min()) - 1)
        if start >= canvas.horizon:
            continue
        ys = np.arange(start, canvas.horizon + 2, dtype=np.float32)[:, None]
        cover = np.clip(ys - tops[None] + 0.5, 0, 1)
        rough = noise(rng, cover.shape, canvas.unit * 0.5, stretch=2.0)
        facing = np.gradient(tops)[None] * np.float32(np.sign(light.side)) * np.float32(-1.6)
        share = np.clip(0.5 + facing + 0.1 * rough, 0, 1).astype(np.float32)
        rgb = _blend(dark, bright, share) * _lit(light, material)
        haze = np.float32((0.12 + 0.4 * light.haze) * (1 - 0.3 * layer))
        rgb += (np.array(light.hour.horizon, dtype=np.float32) - rgb) * haze
        canvas.lay(start, rgb, cover.astype(np.float32), CLASS_INDEX[material])


def _lit(light: Light, material: str) -> Floats:
    """The light on a ground; snow takes on less of the hour's warmth, or it would pass for sand."""
    ambient = np.array(light.hour.ambient, dtype=np.float32)
    if material != "snow":
        return ambient
    neutral = ambient.mean() * np.array((0.97, 1.0, 1.05), dtype=np.float32)
    return np.asarray(neutral * 0.75 + ambient * 0.25, dtype=np.float32)


def _blend(first: tuple[float, float, float], second: tuple[float, float, float], share: Floats) -> Floats:
    low, high = np.array(first, dtype=np.float32), np.array(second, dtype=np.float32)
    return low + (high - low) * share[..., None]


def _grass(rng: np.random.Generator, plane: Plane, canvas: Canvas) -> Floats:
    shift = rng.random(4, dtype=np.float32)
    broad = sample(plane.across * 0.13 + shift[0], _wide(plane, 0.22) + shift[1])
    tufts = sample(plane.across * 0.9 + shift[2], _wide(plane, 0.5) + shift[3], "ridged")
    blades = noise(rng, broad.shape, canvas.unit * 0.55, "grain", stretch=0.35)
    share = 0.45 + 0.2 * np.clip(broad, -2, 2) + (0.05 + 0.07 * plane.near) * tufts + 0.09 * plane.near * blades
    lush = rng.uniform(0, 1)
    dark, bright = (0.13 + 0.07 * lush, 0.33, 0.1), (0.42 + 0.12 * lush, 0.63, 0.2)
    return _blend(dark, bright, np.clip(share, 0, 1.1))


def _sand(rng: np.random.Generator, plane: Plane, canvas: Canvas) -> Floats:
    shift = rng.random(4, dtype=np.float32)
    broad = sample(plane.across * 0.1 + shift[0], _wide(plane, 0.16) + shift[1])
    wind = rng.uniform(-0.5, 0.5)
    ripples = np.sin(_wide(plane, 52) + plane.across * (9 * wind) + broad * 2.4) * smoothstep(0.06, 0.5, plane.near)
    grains = noise(rng, broad.shape, canvas.unit * 0.9, "grain")
    share = 0.55 + 0.17 * broad + 0.11 * ripples + 0.05 * grains
    return _blend((0.76, 0.6, 0.4), (0.96, 0.86, 0.64), np.clip(share, 0, 1))


def _snow(rng: np.random.Generator, plane: Plane, canvas: Canvas) -> Floats:
    shift = rng.random(2, dtype=np.float32)
    drifts = sample(plane.across * 0.12 + shift[0], _wide(plane, 0.3) + shift[1])
    sparkle = noise(rng, drifts.shape, canvas.unit * 0.9, "grain")
    share = 0.72 + 0.26 * np.clip(drifts, -2, 1.2) + 0.04 * sparkle
    return _blend((0.7, 0.78, 0.9), (0.98, 0.985, 1.0), np.clip(share, 0, 1))


def _field(rng: np.random.Generator, plane: Plane, canvas: Canvas) -> Floats:
    shift = rng.random(2, dtype=np.float32)
    lean = rng.uniform(-0.6, 0.6)
    clods = sample(plane.across * 0.8 + shift[0], _wide(plane, 0.8) + shift[1])
    furrows = np.sin((plane.across + plane.along * lean) * rng.uniform(26, 36) + clods * 0.35)
    clear = smoothstep(0.0, 0.25, plane.near)
    share = 0.45 + 0.36 * furrows * clear + 0.13 * clods * clear
    return _blend((0.26, 0.16, 0.1), (0.55, 0.38, 0.25), np.clip(share, 0, 1))


def _road(rng: np.random.Generator, plane: Plane, canvas: Canvas) -> Floats:
    shift = rng.random(2, dtype=np.float32)
    worn = sample(plane.across * 0.2 + shift[0], _wide(plane, 0.3) + shift[1])
    grains = noise(rng, worn.shape, canvas.unit * 0.8, "grain")
    return _blend((0.27, 0.27, 0.29), (0.42, 0.42, 0.43), np.clip(0.45 + 0.16 * worn + 0.14 * grains, 0, 1))


def _wide(plane: Plane, scale: float) -> Floats:
    """Distance along the ground [h, w], scaled; contrast in depth is milder than in true perspective."""
    return np.broadcast_to(plane.along * np.float32(scale), plane.across.shape)


def paint_road_across(
    canvas: Canvas, rng: np.random.Generator, light: Light, plane: Plane, start: float, depth: float
) -> None:
    """A road from side to side between two depths (0..1), with kerbs and a dashed middle line."""
    rows = canvas.height - canvas.horizon
    first, last = int(canvas.horizon + rows * start), int(canvas.horizon + rows * min(1.0, start + depth))
    part = plane.rows(first - canvas.horizon, last - canvas.horizon)
    if part.near.shape[0] < 3:
        return
    rgb = _road(rng, part, canvas)
    place = np.linspace(0, 1, last - first, dtype=np.float32)[:, None]
    kerb = ((place < 0.06) | (place > 0.94)).astype(np.float32) * 0.8
    dashes = (np.abs(place - 0.46) < 0.035) & (np.mod(part.across * 1.7, 1) < 0.55)
    rgb += (np.float32(0.68) - rgb) * kerb[..., None]
    rgb += (np.array([0.95, 0.93, 0.82], dtype=np.float32) - rgb) * dashes.astype(np.float32)[..., None]
    rgb *= np.array(light.hour.ambient, dtype=np.float32)
    canvas.lay(first, rgb, np.ones(rgb.shape[:2], dtype=np.float32), CLASS_INDEX["road"])


def paint_road_away(canvas: Canvas, rng: np.random.Generator, light: Light, plane: Plane, start: float) -> None:
    """A road from the lower edge to the distance, gently bent, with edge lines and a dashed middle line."""
    canvas.road_leads_away = True
    rows = canvas.height - canvas.horizon
    top = max(1, int(rows * start))
    part = plane.rows(top)
    bend, aim = rng.uniform(-0.05, 0.05), rng.uniform(-0.25, 0.25)
    half = rng.uniform(0.3, 0.42)
    middle = aim * (part.along - 1) * 0.25 + bend * np.sin(part.along * 0.8) * part.along
    away = (part.across - middle) / np.float32(half)
    softness = part.along / np.float32(canvas.unit * half)
    cover = np.clip(0.5 + (1 - np.abs(away)) / softness, 0, 1).astype(np.float32)
    rgb = _road(rng, part, canvas)
    lines = np.clip(1 - np.abs(np.abs(away) - 0.88) / 0.035, 0, 1) * 0.9
    dashes = np.clip(1 - np.abs(away) / 0.04, 0, 1) * (np.mod(part.along * 1.6, 1) < 0.55)
    paint = np.maximum(lines, dashes).astype(np.float32)
    rgb += (np.array([0.94, 0.93, 0.86], dtype=np.float32) - rgb) * paint[..., None]
    rgb *= np.array(light.hour.ambient, dtype=np.float32)
    canvas.lay(canvas.horizon + top, rgb, cover, CLASS_INDEX["road"])


# The dark and the bright side of a hill of each ground.
_HILLS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "grass": ((0.16, 0.33, 0.14), (0.42, 0.6, 0.24)),
    "sand": ((0.7, 0.53, 0.34), (0.96, 0.85, 0.62)),
    "snow": ((0.66, 0.75, 0.88), (0.98, 0.99, 1.0)),
    "field": ((0.3, 0.2, 0.13), (0.56, 0.4, 0.27)),
}

MATERIALS: dict[str, Callable[[np.random.Generator, Plane, Canvas], Floats]] = {
    "grass": _grass,
    "sand": _sand,
    "snow": _snow,
    "field": _field,
    "road": _road,
}


def paint_blades(canvas: Canvas, rng: np.random.Generator, light: Light) -> None:
    """Single blades over near grass: the detail that makes a lawn of a green plane."""
    grass = CLASS_INDEX["grass"]
    first = canvas.horizon + (canvas.height - canvas.horizon) // 4
    rows = canvas.height - first
    if rows < 8 or (not (canvas.classes[-1] == grass).any() and not (canvas.classes[first] == grass).any()):
        return
    count = int(np.clip(700 * canvas.width / canvas.unit, 200, 2400))
    for tone in ((0.1, 0.27, 0.07), (0.5, 0.68, 0.24)):
        feet = np.stack([rng.uniform(0, canvas.width, count), rng.random(count) * rows], 1)
        near = (0.25 + 0.75 * feet[:, 1:] / rows) * canvas.unit
        tips = (
            feet + np.concatenate([rng.normal(0, 0.007, (count, 1)), -rng.uniform(0.014, 0.036, (count, 1))], 1) * near
        )
        mask = np.zeros((rows, canvas.width), dtype=np.uint8)
        lines = np.round(np.stack([feet, tips], 1) * 16).astype(np.int32)
        cv2.polylines(mask, list(lines), False, 255, max(1, round(canvas.unit / 500)), cv2.LINE_AA, 4)
        cover = mask.astype(np.float32) * np.float32(0.5 / 255) * (canvas.classes[first:] == grass)
        rgb = np.array(tone, dtype=np.float32) * np.array(light.hour.ambient, dtype=np.float32)
        canvas.image[first:] += (rgb - canvas.image[first:]) * cover[..., None]
