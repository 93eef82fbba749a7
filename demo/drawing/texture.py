"""Noise and curves: cached periodic tiles, sampled quickly at any place and scale, and smooth closed outlines."""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

TILE = 512


@cache
def tile(kind: str) -> Floats:
    """A periodic noise tile, float32 [TILE, TILE] of mean 0 and deviation 1; `kind` is cloudy, ridged or grain.

    Tiles come from a fixed seed and are made once: scenes differ by where and how they sample them, which is many
    times faster than fresh noise at every scale.
    """
    rng = np.random.default_rng(20_240)
    if kind == "grain":
        white = rng.standard_normal((TILE, TILE), dtype=np.float32)
        return _standardised(np.asarray(cv2.GaussianBlur(white, (0, 0), 0.7), dtype=np.float32))
    total = np.zeros((TILE, TILE), dtype=np.float32)
    for octave in range(7):
        layer = _periodic(rng, 4 * 2**octave)
        if kind == "ridged":
            layer = np.float32(0.8) - np.abs(layer)
        total += layer * np.float32(0.56**octave)
    return _standardised(total)


def _periodic(rng: np.random.Generator, cells: int) -> Floats:
    """Smooth noise [TILE, TILE] with `cells` bumps a side, whose edges meet."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    margin = 2
    wrapped = np.pad(coarse, margin, mode="wrap")
    scale = TILE // cells
    large = cv2.resize(wrapped, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    inner = slice(margin * scale, margin * scale + TILE)
    return np.asarray(large[inner, inner], dtype=np.float32)


def _standardised(values: Floats) -> Floats:
    centred = values - values.mean()
    result: Floats = (centred / centred.std()).astype(np.float32)
    return result


def noise(
    rng: np.random.Generator, shape: tuple[int, ...], period: float, kind: str = "cloudy", stretch: float = 1.0
) -> Floats:
    """Noise float32 of `shape` (h, w), mean 0, deviation 1, repeating after `period` px (times `stretch` across)."""
    step = TILE / max(period, 1.0)
    dx, dy = rng.uniform(0, TILE, 2)
    matrix = np.array([[step / stretch, 0, dx], [0, step, dy]], dtype=np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sampled = cv2.warpAffine(tile(kind), matrix, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_WRAP)
    return np.asarray(sampled, dtype=np.float32)


def sample(xs: Floats, ys: Floats, kind: str = "cloudy") -> Floats:
    """The tile at float32 coordinates [H, W] in periods (1.0 is one whole tile)."""
    coordinates_x, coordinates_y = wrap(xs), wrap(ys)
    found = cv2.remap(tile(kind), coordinates_x, coordinates_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(found, dtype=np.float32)


def wrap(values: Floats) -> Floats:
    """Periods to tile pixels, brought into one tile: OpenCV's wrapped border slows down far outside the image."""
    scaled: Floats = values * np.float32(TILE)
    scaled -= np.floor(scaled / np.float32(TILE)) * np.float32(TILE)
    return scaled


def line_noise(rng: np.random.Generator, length: int, bumps: float, octaves: int = 5, gain: float = 0.5) -> Floats:
    """Rough curve float32 [length], about -1..1, with `bumps` main bumps along it."""
    xs = np.linspace(0.0, 1.0, length, dtype=np.float32)
    total = np.zeros(length, dtype=np.float32)
    for octave in range(octaves):
        count = max(2, int(bumps * 2**octave) + 2)
        total += np.interp(xs, np.linspace(0, 1, count), rng.uniform(-1, 1, count)).astype(np.float32) * gain**octave
    return total


def smoothstep(low: float, high: float, values: Floats) -> Floats:
    """0 below `low`, 1 above `high`, and a smooth rise between."""
    ramp = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    result: Floats = ramp * ramp * (3.0 - 2.0 * ramp)
    return result


def outline(points: npt.ArrayLike, steps: int = 6) -> npt.NDArray[np.float64]:
    """A closed Catmull-Rom curve [steps * N, 2] through points [N, 2]."""
    knots = np.asarray(points, dtype=np.float64)
    before, after, beyond = np.roll(knots, 1, 0), np.roll(knots, -1, 0), np.roll(knots, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (array[:, None, :] for array in (before, knots, after, beyond))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return curve.reshape(-1, 2)
