"""Living beings: people, cows, horses, sheep and birds, all drawn facing left."""

import numpy as np

from lseg_serve.demo.drawing.light import RGB, Light
from lseg_serve.demo.drawing.sprite import Sprite, mix, shade
from lseg_serve.demo.drawing.texture import outline

Paints = dict[str, RGB]


def draw_person(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A walking person in shirt and trousers or a frock, some with a hat or a rucksack."""
    skin = mix((0.93, 0.74, 0.6), (0.45, 0.29, 0.2), float(rng.random()))
    hair = mix((0.12, 0.08, 0.06), (0.55, 0.36, 0.16), float(rng.random()))
    shirts: tuple[RGB, ...] = (
        (0.75, 0.2, 0.2),
        (0.2, 0.4, 0.7),
        (0.9, 0.88, 0.84),
        (0.9, 0.68, 0.2),
        (0.3, 0.52, 0.36),
        (0.55, 0.35, 0.6),
    )
    shirt = shirts[int(rng.integers(len(shirts)))]
    trousers = mix((0.14, 0.17, 0.27), (0.36, 0.3, 0.25), float(rng.random()))
    step = float(rng.uniform(0.04, 0.16))
    _limb(sprite, [(0.54, 0.5), (0.54 + step * 0.6, 0.74), (0.56 + step * 1.4, 0.96)], 0.15, shade(trousers, 0.7))
    _foot(sprite, 0.56 + step * 1.4)
    _limb(sprite, [(0.6, 0.24), (0.68, 0.36), (0.64 + step * 0.8, 0.49)], 0.1, shade(shirt, 0.68))
    _limb(sprite, [(0.46, 0.5), (0.45 - step * 0.7, 0.74), (0.45 - step, 0.96)], 0.16, trousers)
    _foot(sprite, 0.45 - step)
    torso = [(0.36, 0.2), (0.5, 0.17), (0.64, 0.2), (0.68, 0.3), (0.65, 0.53), (0.34, 0.53), (0.31, 0.3)]
    if rng.random() < 0.35:
        sprite.polygon([(0.38, 0.4), (0.64, 0.4), (0.76, 0.7), (0.24, 0.7)], shade(shirt, 0.92))
        sprite.polygon([(0.56, 0.4), (0.64, 0.4), (0.76, 0.7), (0.6, 0.7)], shade(shirt, 0.74))
    sprite.polygon(outline(torso, 5), shirt)
    sprite.polygon([(0.56, 0.15), (0.75, 0.15), (0.75, 0.53), (0.6, 0.53)], shade(shirt, 0.78), inside=True)
    if rng.random() < 0.3:
        sprite.polygon(
            outline([(0.62, 0.2), (0.76, 0.22), (0.82, 0.32), (0.79, 0.44), (0.64, 0.44)], 5), (0.42, 0.3, 0.16)
        )
    _limb(sprite, [(0.4, 0.24), (0.33, 0.37), (0.32 - step * 0.5, 0.5)], 0.1, shade(shirt, 0.9))
    sprite.disc(0.31 - step * 0.5, 0.52, 0.026, skin)
    sprite.rectangle(0.45, 0.13, 0.55, 0.19, shade(skin, 0.8))
    sprite.ellipse(0.5, 0.09, 0.17, 0.078, hair)
    sprite.ellipse(0.47, 0.1, 0.14, 0.064, skin)
    sprite.ellipse(0.4, 0.095, 0.022, 0.009, (0.1, 0.07, 0.06))
    sprite.polygon([(0.33, 0.075), (0.4, 0.02), (0.6, 0.02), (0.68, 0.09), (0.6, 0.1), (0.52, 0.06)], hair)
    if rng.random() < 0.3:
        sprite.ellipse(0.5, 0.055, 0.3, 0.018, (0.85, 0.74, 0.5))
        sprite.ellipse(0.5, 0.035, 0.16, 0.035, (0.88, 0.78, 0.55))
    sprite.roundness = 0.3


def _limb(sprite: Sprite, joints: list[tuple[float, float]], width: float, rgb: RGB) -> None:
    """A bent limb, `width` in widths of the surface."""
    half = width / 2
    left = [(x - half, y) for x, y in joints]
    right = [(x + half * 0.85, y) for x, y in joints[::-1]]
    sprite.polygon([*left, *right], rgb)


def _foot(sprite: Sprite, x: float) -> None:
    sprite.polygon(
        [(x - 0.16, 1.0), (x - 0.14, 0.965), (x - 0.02, 0.94), (x + 0.08, 0.94), (x + 0.09, 1.0)], (0.13, 0.1, 0.09)
    )


def _leg(sprite: Sprite, x: float, top: float, width: float, rgb: RGB, lean: float = 0.0) -> None:
    """A straight leg from `top` down to the ground, with a hoof."""
    knee = (top + 1) / 2
    half = width / 2
    sprite.polygon(
        [(x - half * 1.5, top), (x + half * 1.5, top), (x + half * 0.95 + lean, knee), (x + half * 0.85, 0.95),
         (x - half * 0.85, 0.95), (x - half * 0.95 + lean, knee)], rgb)  # fmt: skip
    sprite.polygon(
        [(x - half * 1.15, 1.0), (x - half * 0.85, 0.93), (x + half * 0.85, 0.93), (x + half, 1.0)], (0.12, 0.1, 0.09)
    )


def draw_cow(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A white cow with large black patches."""
    coat: RGB = (0.93, 0.91, 0.87)
    black: RGB = (0.11, 0.1, 0.1)
    for x in (0.36, 0.8):
        _leg(sprite, x, 0.58, 0.06, shade(coat, 0.62))
    sprite.line([(0.93, 0.26), (0.965, 0.42), (0.965, 0.6)], 0.03, shade(coat, 0.8))
    sprite.ellipse(0.965, 0.64, 0.018, 0.06, black)
    body = [
        (0.2, 0.26),
        (0.26, 0.21),
        (0.42, 0.2),
        (0.62, 0.21),
        (0.86, 0.19),
        (0.94, 0.27),
        (0.95, 0.48),
        (0.9, 0.6),
        (0.72, 0.67),
        (0.5, 0.7),
        (0.34, 0.66),
        (0.25, 0.55),
        (0.19, 0.42),
    ]
    sprite.polygon(outline(body), coat)
    sprite.ellipse(0.72, 0.68, 0.06, 0.05, (0.93, 0.68, 0.64))
    for x in (0.29, 0.88):
        _leg(sprite, x, 0.56, 0.066, coat)
    for _ in range(5):
        x, y = float(rng.uniform(0.28, 0.92)), float(rng.uniform(0.22, 0.6))
        blot = outline(
            [
                (x + float(rng.uniform(0.05, 0.12)) * np.cos(t), y + float(rng.uniform(0.08, 0.16)) * np.sin(t))
                for t in np.linspace(0, 2 * np.pi, 7)[:-1]
            ]
        )
        sprite.polygon(blot, black, inside=True)
    head = [
        (0.2, 0.16),
        (0.25, 0.25),
        (0.22, 0.36),
        (0.14, 0.46),
        (0.07, 0.51),
        (0.025, 0.47),
        (0.04, 0.37),
        (0.1, 0.2),
        (0.15, 0.13),
    ]
    sprite.polygon(outline(head), black)
    sprite.polygon([(0.11, 0.14), (0.15, 0.16), (0.09, 0.44), (0.04, 0.42)], coat, inside=True)
    sprite.ellipse(0.06, 0.46, 0.042, 0.055, (0.9, 0.66, 0.62))
    sprite.ellipse(0.25, 0.19, 0.05, 0.032, black)
    sprite.polygon([(0.15, 0.14), (0.13, 0.03), (0.17, 0.07), (0.19, 0.15)], (0.85, 0.8, 0.68))
    sprite.disc(0.125, 0.25, 0.017, (0.02, 0.02, 0.02))
    sprite.roundness = 0.45


def draw_horse(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A brown horse with a dark mane and tail."""
    coat = mix((0.5, 0.26, 0.12), (0.36, 0.19, 0.1), float(rng.random()))
    mane: RGB = (0.12, 0.08, 0.06)
    for x, lean in ((0.42, -0.02), (0.76, 0.03)):
        _leg(sprite, x, 0.56, 0.055, shade(coat, 0.6), lean)
    tail = [(0.9, 0.37), (0.96, 0.42), (0.99, 0.6), (0.97, 0.8), (0.93, 0.78), (0.93, 0.55), (0.89, 0.44)]
    sprite.polygon(outline(tail).clip(0, 1), mane)
    body = [
        (0.12, 0.06),
        (0.19, 0.05),
        (0.26, 0.13),
        (0.33, 0.27),
        (0.42, 0.36),
        (0.6, 0.38),
        (0.78, 0.34),
        (0.9, 0.38),
        (0.93, 0.48),
        (0.9, 0.6),
        (0.8, 0.64),
        (0.6, 0.66),
        (0.4, 0.65),
        (0.3, 0.58),
        (0.25, 0.44),
        (0.2, 0.3),
        (0.14, 0.28),
        (0.06, 0.33),
        (0.02, 0.29),
        (0.04, 0.21),
        (0.08, 0.13),
    ]
    sprite.polygon(outline(body), coat)
    for x, lean in ((0.33, -0.015), (0.86, 0.03)):
        _leg(sprite, x, 0.52, 0.062, coat, lean)
        sprite.rectangle(x - 0.035, 0.84, x + 0.035, 0.93, (0.88, 0.86, 0.82), inside=True)
    crest = [
        (0.14, 0.03),
        (0.2, 0.03),
        (0.28, 0.13),
        (0.36, 0.28),
        (0.43, 0.38),
        (0.36, 0.4),
        (0.3, 0.32),
        (0.25, 0.2),
        (0.2, 0.11),
    ]
    sprite.polygon(outline(crest), mane)
    sprite.polygon([(0.13, 0.08), (0.145, 0.0), (0.18, 0.07)], shade(coat, 0.85))
    sprite.ellipse(0.045, 0.285, 0.03, 0.035, shade(coat, 0.5))
    sprite.disc(0.115, 0.15, 0.016, (0.03, 0.02, 0.02))
    sprite.polygon([(0.06, 0.17), (0.085, 0.14), (0.06, 0.27), (0.04, 0.26)], (0.93, 0.91, 0.88), inside=True)
    sprite.roundness = 0.5


def draw_sheep(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A woolly cream sheep with dark face and legs."""
    dark: RGB = (0.17, 0.14, 0.13)
    wool = np.array((0.9, 0.86, 0.76))
    for x in (0.33, 0.45, 0.72, 0.84):
        sprite.rectangle(x, 0.65, x + 0.07, 1.0, dark)
    angles = np.linspace(0, 2 * np.pi, 15, endpoint=False)
    rim_x, rim_y = 0.58 + 0.3 * np.cos(angles), 0.43 + 0.25 * np.sin(angles)
    sprite.ellipse(0.58, 0.43, 0.33, 0.28, (0.72, 0.67, 0.58))
    sprite.dots(rim_x, rim_y, np.full(15, 0.125), np.tile(wool * 0.82, (15, 1)))
    count = 60
    turn, far = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count))
    xs, ys = 0.58 + 0.3 * np.cos(turn) * far, 0.42 + 0.26 * np.sin(turn) * far
    order = np.argsort(-ys)
    tones = 1.12 - 0.45 * (ys[order] - 0.15) + rng.normal(0, 0.04, count)
    sprite.dots(xs[order], ys[order], rng.uniform(0.05, 0.085, count), wool * tones[:, None])
    sprite.polygon(
        outline([(0.3, 0.2), (0.31, 0.36), (0.24, 0.5), (0.13, 0.53), (0.09, 0.45), (0.14, 0.27), (0.21, 0.18)]), dark
    )
    sprite.polygon([(0.26, 0.25), (0.37, 0.24), (0.36, 0.31), (0.28, 0.31)], shade(dark, 1.4))
    sprite.dots(np.array([0.2, 0.26, 0.3]), np.array([0.17, 0.15, 0.2]), np.full(3, 0.065), np.tile(wool, (3, 1)))
    sprite.disc(0.19, 0.32, 0.022, (0.9, 0.88, 0.8))
    sprite.roundness = 0.45


def draw_bird(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A gull on the wing: pale body, dark broad wings raised, orange bill."""
    wing: RGB = (0.24, 0.25, 0.29)
    pale: RGB = (0.93, 0.93, 0.92)
    far = [(0.5, 0.62), (0.53, 0.4), (0.66, 0.16), (0.86, 0.02), (0.84, 0.2), (0.74, 0.42), (0.66, 0.66)]
    sprite.polygon(outline(far, 5).clip(0, 1), shade(wing, 0.75))
    body = [
        (0.12, 0.66),
        (0.2, 0.57),
        (0.3, 0.58),
        (0.5, 0.55),
        (0.7, 0.62),
        (0.95, 0.78),
        (0.97, 0.86),
        (0.7, 0.86),
        (0.45, 0.92),
        (0.26, 0.84),
        (0.16, 0.75),
    ]
    sprite.polygon(outline(body, 5).clip(0, 1), pale)
    sprite.polygon([(0.85, 0.7), (1.0, 0.7), (1.0, 0.95), (0.85, 0.9)], wing, inside=True)
    near = [
        (0.38, 0.66),
        (0.33, 0.42),
        (0.2, 0.18),
        (0.02, 0.04),
        (0.03, 0.16),
        (0.14, 0.34),
        (0.24, 0.55),
        (0.34, 0.74),
        (0.56, 0.74),
        (0.5, 0.62),
    ]
    sprite.polygon(outline(near, 5).clip(0, 1), wing)
    sprite.polygon([(0.14, 0.64), (0.03, 0.72), (0.15, 0.74)], (0.96, 0.6, 0.12))
    sprite.disc(0.2, 0.65, 0.025, (0.05, 0.05, 0.05))
    sprite.roundness = 0.3
