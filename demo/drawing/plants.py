"""Things that grow: broad-leaved trees, firs, tree lines, cacti and beds of flowers."""

import numpy as np

from lseg_serve.demo.drawing.light import RGB, Light
from lseg_serve.demo.drawing.sprite import Sprite, mix, shade
from lseg_serve.demo.drawing.texture import outline

Paints = dict[str, RGB]


def draw_tree(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A broad-leaved tree or a fir."""
    if rng.random() < 0.38:
        _fir(sprite, rng, light)
    else:
        _broadleaf(sprite, rng, light)
    sprite.roundness = 0.5


def _leaf_colour(rng: np.random.Generator) -> RGB:
    if rng.random() < 0.14:
        return mix((0.72, 0.36, 0.1), (0.78, 0.55, 0.14), float(rng.random()))
    return mix((0.08, 0.3, 0.1), (0.24, 0.42, 0.1), float(rng.random()))


def _broadleaf(sprite: Sprite, rng: np.random.Generator, light: Light) -> None:
    bark = mix((0.33, 0.22, 0.14), (0.42, 0.34, 0.27), float(rng.random()))
    sway = float(rng.uniform(-0.04, 0.04))
    sprite.polygon([(0.43, 1.0), (0.47, 0.85), (0.46 + sway, 0.5), (0.54 + sway, 0.5), (0.54, 0.85), (0.59, 1.0)], bark)
    sprite.polygon([(0.52, 0.85), (0.515 + sway, 0.5), (0.54 + sway, 0.5), (0.54, 0.85), (0.59, 1.0)], shade(bark, 0.7))
    for side in (-1, 1):
        sprite.polygon(
            [(0.5, 0.75), (0.5 + side * 0.22, 0.48), (0.5 + side * 0.25, 0.5), (0.52, 0.8)], shade(bark, 0.85)
        )
    boughs = int(rng.integers(7, 11))
    turn = np.sort(rng.uniform(0, 2 * np.pi, boughs))
    xs = 0.5 + 0.27 * np.cos(turn) * rng.uniform(0.6, 1, boughs)
    ys = 0.37 + 0.2 * np.sin(turn) * rng.uniform(0.6, 1, boughs)
    xs, ys = np.append(xs, 0.5), np.append(ys, 0.34)
    order = np.argsort(-ys)
    _foliage(sprite, rng, light, xs[order], ys[order], 0.16, _leaf_colour(rng))


def _foliage(
    sprite: Sprite, rng: np.random.Generator, light: Light, xs: np.ndarray, ys: np.ndarray, radius: float, leaf: RGB
) -> None:
    """Boughs as balls of leaf clusters: dark base, then smaller and lighter clusters towards the light."""
    tall = sprite.height / sprite.width
    room = radius * 1.25
    xs, ys = np.clip(xs, room * tall, 1 - room * tall), np.clip(ys, room, 1)
    base = np.array(leaf)
    sprite.dots(xs, ys, np.full(len(xs), radius), np.tile(base * 0.5, (len(xs), 1)))
    clusters = int(np.clip(sprite.height / 5, 10, 110))
    for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
        turn, far = rng.uniform(0, 2 * np.pi, clusters), np.sqrt(rng.random(clusters))
        dx, dy = np.cos(turn) * far, np.sin(turn) * far
        lit = -dy * (0.4 + 0.5 * light.height) + dx * light.side * 0.55
        order = np.argsort(lit)
        brightness = 0.78 + 0.42 * lit[order] + rng.normal(0, 0.09, clusters) + 0.25 * (0.4 - y)
        rgbs = (
            base * np.clip(brightness, 0.42, 1.6)[:, None]
            + np.array([0.07, 0.07, 0.0]) * np.clip(lit[order], 0, 1)[:, None]
        )
        sizes = radius * rng.uniform(0.5, 1.0, clusters) * max(0.15, 1.25 / np.sqrt(clusters))
        sprite.dots(x + dx[order] * radius * tall, y + dy[order] * radius, sizes, rgbs)


def _fir(sprite: Sprite, rng: np.random.Generator, light: Light) -> None:
    green = mix((0.05, 0.22, 0.15), (0.1, 0.3, 0.16), float(rng.random()))
    sprite.polygon([(0.46, 1.0), (0.46, 0.85), (0.54, 0.85), (0.54, 1.0)], (0.3, 0.2, 0.14))
    tiers = int(rng.integers(6, 9))
    for tier in range(tiers):
        share = 1 - tier / tiers
        foot = 0.93 - 0.78 * (1 - share)
        half = 0.1 + 0.36 * share
        top = foot - 0.3 * (0.55 + 0.45 * share)
        teeth = 7
        along = np.linspace(-1, 1, teeth * 2 + 1)
        jag = (
            foot
            - np.where(np.arange(len(along)) % 2 == 1, 0.035, 0.0)
            - 0.03 * np.abs(along)
            + rng.normal(0, 0.006, len(along))
        )
        edge = list(zip((0.5 + half * along).tolist(), jag.tolist(), strict=True))
        tone = shade(green, 0.75 + 0.45 * (1 - share))
        sprite.polygon([(0.5, max(0.0, top)), *edge[::-1]], shade(tone, 0.72))
        lit = [point for point in edge if (point[0] - 0.5) * light.side > -0.03]
        lit.sort(key=lambda point: point[0])
        sprite.polygon(
            [(0.5, max(0.0, top)), *[(x * 0.97 + 0.015, y - 0.02) for x, y in lit]], shade(tone, 1.2), inside=True
        )
    sprite.grain = 0.08


def draw_tree_line(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A far wood: crowns side by side on a dark foot."""
    wide = sprite.width / sprite.height
    leaf = np.array(mix(_leaf_colour(rng), (0.2, 0.32, 0.26), 0.3))
    count = int(wide * 2.2) + 2
    xs = np.linspace(0, 1, count) + rng.normal(0, 0.2 / count, count)
    ys = 0.55 + rng.uniform(-0.17, 0.12, count)
    sprite.polygon([(0, 0.62), (1, 0.62), (1, 1), (0, 1)], (leaf[0] * 0.5, leaf[1] * 0.5, leaf[2] * 0.5))
    for layer in range(5):
        offset = layer * 0.05
        tone = leaf * (0.55 + 0.14 * layer)
        x = xs + light.side * 0.03 * layer / wide + rng.normal(0, 0.1 / wide, count)
        radii = rng.uniform(0.22, 0.33, count) * (1 - 0.15 * layer)
        sprite.dots(x, ys + 0.08 - offset, radii, tone * rng.uniform(0.85, 1.15, (count, 1)))
    leaves = int(count * np.clip(sprite.height / 3, 8, 45))
    x, y = rng.random(leaves), rng.random(leaves) ** 0.7 * 0.66 + 0.3
    tones = leaf * (1.35 - 0.85 * y[:, None]) * rng.uniform(0.75, 1.25, (leaves, 1))
    sprite.dots(x, y, rng.uniform(0.02, 0.055, leaves), tones, inside=True)
    sprite.grain = 0.1


def draw_cactus(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A ribbed column with two upturned arms."""
    green = mix((0.2, 0.5, 0.3), (0.3, 0.56, 0.28), float(rng.random()))
    arms = (
        (-1, float(rng.uniform(0.42, 0.6)), float(rng.uniform(0.16, 0.3))),
        (1, float(rng.uniform(0.36, 0.55)), float(rng.uniform(0.08, 0.24))),
    )
    for side, low, high in arms:
        _column(sprite, 0.5 + side * 0.34, high, low, 0.1, green, light)
        x0, x1 = sorted((0.5, 0.5 + side * 0.37))
        sprite.rectangle(x0, low - 0.05, x1, low + 0.045, shade(green, 0.85))
        sprite.disc(0.5 + side * 0.36, low, 0.045, shade(green, 0.85))
    _column(sprite, 0.5, 0.04, 1.0, 0.155, green, light)
    if rng.random() < 0.4:
        sprite.disc(0.5, 0.035, 0.03, (0.9, 0.45, 0.6))
    sprite.roundness = 0.4


def _column(sprite: Sprite, x: float, top: float, foot: float, half: float, green: RGB, light: Light) -> None:
    """One upright stem with a round head and ribs that darken away from the light."""
    ribs = 6
    cap = half * sprite.width / sprite.height
    stem = outline(
        [
            (x - half, foot),
            (x - half, top + cap),
            (x - half * 0.6, top + 0.2 * cap),
            (x, top),
            (x + half * 0.6, top + 0.2 * cap),
            (x + half, top + cap),
            (x + half, foot),
        ],
        4,
    )
    sprite.polygon(np.clip(stem, 0, 1), shade(green, 0.9))
    for rib in range(ribs):
        place = (rib + 0.5) / ribs * 2 - 1
        tone = shade(green, (0.92 + 0.3 * place * light.side) * (1.12 if rib % 2 else 0.8))
        rise = top + cap * (1 - np.sqrt(max(0.0, 1 - place * place)) * 0.9)
        centre, thin = x + place * half * 0.93, half / ribs * 0.8
        sprite.polygon(
            [(centre - thin, foot), (centre - thin, rise), (centre + thin, rise), (centre + thin, foot)],
            tone,
            inside=True,
        )


def draw_flowers(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A dense bed of large blossoms of one colour over a little dark leaf."""
    rgb = paints["flower"]
    wide = sprite.width / sprite.height
    heart: RGB = (0.35, 0.2, 0.08) if rgb[0] > 0.85 and rgb[1] > 0.7 and rgb[2] < 0.4 else (0.98, 0.8, 0.2)
    _leaves(sprite, rng, wide)
    columns = max(4, int(wide * 4.6))
    for row, (low, high) in enumerate(((0.3, 0.36), (0.44, 0.5), (0.58, 0.64), (0.72, 0.78), (0.85, 0.87))):
        xs = (np.arange(columns) + (0.25 if row % 2 else 0.7)) / columns + rng.normal(0, 0.1 / columns, columns)
        for x in rng.permutation(xs[(xs > 0.07 / wide) & (xs < 1 - 0.07 / wide)]).tolist():
            sag = 0.26 * abs(2 * x - 1) ** 3
            radius = float(rng.uniform(0.115, 0.15))
            y = float(rng.uniform(low, high)) + sag * (1 - row / 4) - 0.06
            _blossom(sprite, rng, x, min(y, 0.9), radius, rgb, heart)


def _leaves(sprite: Sprite, rng: np.random.Generator, wide: float) -> None:
    """The dark leaves between and below the blossoms."""
    count = int(14 * wide)
    xs = np.linspace(0.1 / wide, 1 - 0.1 / wide, count)
    for low in (0.5, 0.72, 0.9):
        ys = low + 0.16 * np.abs(2 * xs - 1) ** 3 + rng.uniform(-0.06, 0.04, count)
        tones = np.array((0.12, 0.36, 0.13)) * rng.uniform(0.65, 1.2, (count, 1))
        sprite.dots(xs, np.minimum(ys, 0.93), rng.uniform(0.07, 0.12, count), tones)


def _blossom(sprite: Sprite, rng: np.random.Generator, x: float, y: float, radius: float, rgb: RGB, heart: RGB) -> None:
    """Petals in two rings round a heart, seen a little from the side."""
    tall = sprite.height / sprite.width
    turn = rng.uniform(0, 2) + np.arange(6) * np.pi / 3
    for ring, tone in ((1.0, 0.74), (0.72, 1.0)):
        angles = turn + (0 if ring == 1.0 else np.pi / 6)
        px, py = x + np.cos(angles) * radius * 0.6 * ring * tall, y + np.sin(angles) * radius * 0.5 * ring
        tones = np.array(rgb) * tone * rng.uniform(0.93, 1.05, (6, 1))
        sprite.dots(px, py, np.full(6, radius * 0.5 * ring), tones)
    sprite.ellipse(x, y, radius * 0.26 * tall, radius * 0.22, heart)
