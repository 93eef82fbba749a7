"""Things that carry people: cars, buses, boats, hot-air balloons and airplanes."""

import numpy as np

from lseg_serve.demo.drawing.light import RGB, Light
from lseg_serve.demo.drawing.sprite import Sprite, mix, shade
from lseg_serve.demo.drawing.texture import outline

Paints = dict[str, RGB]

_TYRE: RGB = (0.09, 0.09, 0.1)
_GLASS: RGB = (0.2, 0.27, 0.33)
_HEADLAMP: RGB = (1.0, 0.95, 0.75)


def _wheel(sprite: Sprite, x: float, radius: float) -> None:
    y = 1 - radius
    sprite.disc(x, y, radius, _TYRE)
    sprite.disc(x, y, radius * 0.62, (0.7, 0.71, 0.73))
    sprite.disc(x, y, radius * 0.48, (0.45, 0.46, 0.48))
    sprite.disc(x, y, radius * 0.2, (0.78, 0.79, 0.8))


def draw_car(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A car from the side: saloon or hatchback."""
    rgb = paints["car"]
    back = 0.97 if rng.random() < 0.5 else 0.9
    top = float(rng.uniform(0.03, 0.08))
    body = [
        (0.01, 0.72),
        (0.015, 0.6),
        (0.06, 0.5),
        (0.17, 0.45),
        (0.27, 0.42),
        (0.36, top + 0.1),
        (0.44, top),
        (0.62, top),
        (0.72, top + 0.05),
        (0.8 if back < 0.95 else 0.86, 0.36),
        (back, 0.41),
        (0.985, 0.48),
        (0.99, 0.7),
        (0.97, 0.84),
        (0.03, 0.84),
    ]
    sprite.polygon(outline(body, 5).clip(0, 1), rgb)
    sprite.polygon([(0.0, 0.7), (1.0, 0.7), (1.0, 0.9), (0.0, 0.9)], shade(rgb, 0.68), inside=True)
    sprite.polygon(
        [(0.02, 0.5), (0.3, 0.44), (0.98, 0.44), (0.99, 0.5), (0.98, 0.52), (0.04, 0.55)],
        mix(rgb, (1.0, 1.0, 1.0), 0.32),
        inside=True,
    )
    sprite.polygon([(0.3, 0.43), (0.38, top + 0.12), (0.45, top + 0.06), (0.53, top + 0.06), (0.53, 0.43)], _GLASS)
    sprite.polygon(
        [(0.56, 0.43), (0.56, top + 0.06), (0.64, top + 0.06), (0.71, top + 0.1), (0.78, 0.4), (0.77, 0.43)], _GLASS
    )
    for x in (0.33, 0.6):
        sprite.polygon(
            [(x, 0.43), (x + 0.06, top + 0.06), (x + 0.1, top + 0.06), (x + 0.04, 0.43)], (0.42, 0.53, 0.6), inside=True
        )
    for x in (0.28, 0.545, 0.79):
        sprite.rectangle(x, 0.44, x + 0.008, 0.8, shade(rgb, 0.55), inside=True)
    for x in (0.49, 0.73):
        sprite.rectangle(x, 0.53, x + 0.04, 0.56, shade(rgb, 0.5), inside=True)
    for x in (0.21, 0.78):
        sprite.disc(x, 0.82, 0.21, (0.06, 0.06, 0.07), inside=True)
        _wheel(sprite, x, 0.175)
    sprite.ellipse(0.035, 0.6, 0.02, 0.06, _HEADLAMP, shines=light.night)
    sprite.rectangle(0.965, 0.52, 0.988, 0.63, (0.75, 0.08, 0.08), shines=light.night)
    sprite.roundness = 0.3


def draw_car_from_behind(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A car from behind, for a road that leads away."""
    rgb = paints["car"]
    for x in (0.1, 0.72):
        sprite.rectangle(x, 0.75, x + 0.18, 1.0, _TYRE)
    body = [
        (0.03, 0.86),
        (0.02, 0.55),
        (0.1, 0.42),
        (0.2, 0.08),
        (0.35, 0.02),
        (0.65, 0.02),
        (0.8, 0.08),
        (0.9, 0.42),
        (0.98, 0.55),
        (0.97, 0.86),
        (0.5, 0.9),
    ]
    sprite.polygon(outline(body, 5).clip(0, 1), rgb)
    sprite.polygon([(0.0, 0.72), (1.0, 0.72), (1.0, 0.92), (0.0, 0.92)], shade(rgb, 0.66), inside=True)
    sprite.polygon([(0.18, 0.4), (0.26, 0.12), (0.74, 0.12), (0.82, 0.4)], _GLASS)
    sprite.polygon([(0.24, 0.4), (0.36, 0.12), (0.48, 0.12), (0.38, 0.4)], (0.42, 0.53, 0.6), inside=True)
    sprite.rectangle(0.05, 0.45, 0.95, 0.49, mix(rgb, (1.0, 1.0, 1.0), 0.3), inside=True)
    for x in (0.05, 0.79):
        sprite.rectangle(x, 0.53, x + 0.16, 0.65, (0.8, 0.08, 0.08), shines=light.night)
    sprite.rectangle(0.38, 0.6, 0.62, 0.7, (0.93, 0.93, 0.88))
    sprite.roundness = 0.3


def draw_bus(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A long bus from the side with a band of windows."""
    rgb = paints["bus"]
    body = [(0.005, 0.88), (0.005, 0.3), (0.02, 0.08), (0.06, 0.03), (0.96, 0.03), (0.99, 0.08), (0.995, 0.88)]
    sprite.polygon(body, rgb)
    sprite.rectangle(0.0, 0.0, 1.0, 0.1, mix(rgb, (1.0, 1.0, 1.0), 0.35), inside=True)
    sprite.rectangle(0.0, 0.76, 1.0, 0.9, shade(rgb, 0.62), inside=True)
    sprite.rectangle(0.0, 0.6, 1.0, 0.65, (0.95, 0.95, 0.93), inside=True)
    lit = light.night
    pane: RGB = (1.0, 0.95, 0.8) if lit else _GLASS
    sprite.polygon([(0.015, 0.54), (0.02, 0.18), (0.09, 0.18), (0.09, 0.54)], pane, shines=lit)
    for x in np.linspace(0.24, 0.87, 6).tolist():
        sprite.rectangle(x, 0.18, x + 0.095, 0.5, pane, shines=lit)
        if not lit:
            sprite.polygon(
                [(x, 0.5), (x + 0.04, 0.18), (x + 0.07, 0.18), (x + 0.03, 0.5)], (0.4, 0.51, 0.58), inside=True
            )
    sprite.rectangle(0.12, 0.18, 0.215, 0.86, shade(pane, 0.85), shines=lit)
    sprite.rectangle(0.164, 0.18, 0.171, 0.86, shade(rgb, 0.7))
    for x in (0.27, 0.8):
        sprite.disc(x, 0.86, 0.155, (0.06, 0.06, 0.07), inside=True)
        _wheel(sprite, x, 0.13)
    sprite.rectangle(0.005, 0.68, 0.025, 0.76, _HEADLAMP, shines=lit)
    sprite.rectangle(0.98, 0.66, 0.995, 0.76, (0.75, 0.08, 0.08), shines=lit)


def draw_bus_from_behind(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A bus from behind, for a road that leads away."""
    rgb = paints["bus"]
    for x in (0.1, 0.7):
        sprite.rectangle(x, 0.85, x + 0.2, 1.0, _TYRE)
    sprite.polygon([(0.04, 0.93), (0.04, 0.12), (0.12, 0.02), (0.88, 0.02), (0.96, 0.12), (0.96, 0.93)], rgb)
    sprite.rectangle(0.0, 0.0, 1.0, 0.09, mix(rgb, (1.0, 1.0, 1.0), 0.35), inside=True)
    sprite.rectangle(0.0, 0.82, 1.0, 0.95, shade(rgb, 0.62), inside=True)
    pane: RGB = (1.0, 0.95, 0.8) if light.night else _GLASS
    sprite.polygon([(0.13, 0.46), (0.15, 0.14), (0.85, 0.14), (0.87, 0.46)], pane, shines=light.night)
    if not light.night:
        sprite.polygon([(0.2, 0.46), (0.34, 0.14), (0.48, 0.14), (0.36, 0.46)], (0.42, 0.53, 0.6), inside=True)
    sprite.rectangle(0.0, 0.52, 1.0, 0.57, (0.95, 0.95, 0.93), inside=True)
    for x in (0.08, 0.8):
        sprite.rectangle(x, 0.66, x + 0.12, 0.76, (0.8, 0.08, 0.08), shines=light.night)
    sprite.rectangle(0.38, 0.7, 0.62, 0.78, (0.93, 0.93, 0.88))


def draw_boat(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A boat with a painted hull, under sail or with a cabin."""
    rgb = paints["boat"]
    if rng.random() < 0.65:
        _sails(sprite, light, rgb)
    else:
        _cabin(sprite, light)
    hull = [
        (0.0, 0.7),
        (0.05, 0.71),
        (0.5, 0.735),
        (0.92, 0.71),
        (1.0, 0.68),
        (0.94, 0.86),
        (0.86, 1.0),
        (0.16, 1.0),
        (0.06, 0.86),
    ]
    sprite.polygon(hull, rgb)
    sprite.polygon([(0.0, 0.9), (1.0, 0.9), (1.0, 1.0), (0.0, 1.0)], shade(rgb, 0.6), inside=True)
    sprite.polygon(
        [(0.0, 0.7), (0.05, 0.71), (0.5, 0.735), (0.92, 0.71), (1.0, 0.68), (0.99, 0.73), (0.5, 0.775), (0.02, 0.75)],
        mix(rgb, (1.0, 1.0, 1.0), 0.4),
        inside=True,
    )


def _sails(sprite: Sprite, light: Light, rgb: RGB) -> None:
    white: RGB = (0.97, 0.96, 0.92)
    sprite.rectangle(0.49, 0.0, 0.512, 0.74, (0.45, 0.33, 0.22))
    sprite.polygon([(0.52, 0.03), (0.62, 0.25), (0.72, 0.48), (0.85, 0.65), (0.52, 0.67)], white)
    sprite.polygon([(0.52, 0.03), (0.56, 0.3), (0.6, 0.665), (0.52, 0.67)], shade(white, 0.85), inside=True)
    sprite.polygon([(0.62, 0.25), (0.66, 0.36), (0.52, 0.4), (0.52, 0.3)], rgb)
    sprite.polygon([(0.47, 0.07), (0.36, 0.35), (0.12, 0.64), (0.46, 0.67)], shade(white, 0.93))


def _cabin(sprite: Sprite, light: Light) -> None:
    pane: RGB = (1.0, 0.86, 0.5) if light.night else _GLASS
    sprite.rectangle(0.56, 0.18, 0.6, 0.45, (0.35, 0.3, 0.28))
    sprite.rectangle(0.3, 0.42, 0.74, 0.74, (0.93, 0.92, 0.88))
    sprite.rectangle(0.62, 0.42, 0.74, 0.74, (0.78, 0.77, 0.74))
    sprite.polygon([(0.26, 0.42), (0.32, 0.36), (0.74, 0.36), (0.78, 0.42)], (0.5, 0.36, 0.25))
    for x in (0.35, 0.48, 0.63):
        sprite.rectangle(x, 0.49, x + 0.08, 0.6, pane, shines=light.night)


def draw_balloon(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A hot-air balloon of gores in two tones of its colour, with its basket."""
    rgb = paints["balloon"]
    pale = mix(rgb, (1.0, 1.0, 1.0), 0.42)
    heights = np.linspace(0, 1, 24)
    half = np.sqrt(np.clip(1 - (heights / 0.52 - 1) ** 2, 0, 1))
    half = np.where(heights > 0.52, np.cos((heights - 0.52) / 0.48 * 1.35), half)
    ys = 0.01 + 0.8 * heights
    gores = 8
    edges = np.sin(np.linspace(-1, 1, gores + 1) * np.pi / 2) * 0.49
    for gore in range(gores):
        left, right = 0.5 + half * edges[gore], 0.5 + half * edges[gore + 1]
        shape = np.concatenate([np.stack([left, ys], 1), np.stack([right, ys], 1)[::-1]])
        sprite.polygon(shape, pale if gore % 4 == 1 else shade(rgb, 1.0 if gore % 2 else 0.9))
    sprite.polygon([(0.43, 0.81), (0.57, 0.81), (0.56, 0.92), (0.44, 0.92)], (0.3, 0.25, 0.2))
    sprite.rectangle(0.42, 0.89, 0.58, 1.0, (0.5, 0.34, 0.18))
    sprite.rectangle(0.41, 0.885, 0.59, 0.91, (0.36, 0.24, 0.13))
    sprite.roundness = 0.55


def draw_airplane(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """An airliner from the side: pale grey body, dark wing, fin and engine."""
    body: RGB = (0.86, 0.88, 0.92)
    trim: RGB = ((0.12, 0.22, 0.5), (0.55, 0.1, 0.14), (0.1, 0.4, 0.42))[int(rng.integers(3))]
    sprite.polygon([(0.58, 0.42), (0.78, 0.05), (0.83, 0.08), (0.73, 0.45)], shade(body, 0.6))
    sprite.polygon([(0.8, 0.42), (0.93, 0.02), (1.0, 0.02), (0.965, 0.46)], trim)
    shell = [
        (0.0, 0.55),
        (0.03, 0.46),
        (0.1, 0.39),
        (0.2, 0.36),
        (0.8, 0.38),
        (0.97, 0.43),
        (0.98, 0.47),
        (0.8, 0.62),
        (0.6, 0.68),
        (0.15, 0.68),
        (0.04, 0.64),
    ]
    sprite.polygon(outline(shell, 5).clip(0, 1), body)
    sprite.polygon([(0.0, 0.6), (1.0, 0.57), (1.0, 0.75), (0.0, 0.75)], shade(body, 0.68), inside=True)
    sprite.rectangle(0.0, 0.56, 1.0, 0.6, trim, inside=True)
    sprite.polygon([(0.045, 0.47), (0.1, 0.42), (0.11, 0.48)], (0.15, 0.18, 0.25))
    for x in np.linspace(0.17, 0.78, 13).tolist():
        sprite.rectangle(x, 0.46, x + 0.022, 0.52, (0.2, 0.25, 0.33), inside=True)
    sprite.polygon([(0.36, 0.6), (0.54, 0.6), (0.72, 0.96), (0.63, 0.98)], (0.45, 0.48, 0.54))
    sprite.ellipse(0.47, 0.8, 0.055, 0.085, trim)
    sprite.polygon([(0.83, 0.45), (0.93, 0.45), (1.0, 0.64), (0.95, 0.64)], (0.45, 0.48, 0.54))
