"""Built things: houses with roofs, lighthouses, skylines, fences, tents and umbrellas."""

import numpy as np

from lseg_serve.demo.drawing.light import RGB, Light
from lseg_serve.demo.drawing.sprite import Sprite, mix, shade
from lseg_serve.demo.vocabulary import CLASS_INDEX

Paints = dict[str, RGB]

_LAMP: RGB = (1.0, 0.86, 0.5)
_PANE: RGB = (0.36, 0.5, 0.62)


def draw_house(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A house seen from the front with one gable side, under a roof that has a label of its own."""
    wall, roof = paints["house"], paints["roof"]
    near, side = shade(wall, 1.0), shade(wall, 0.74)
    eaves, ridge = 0.46, float(rng.uniform(0.06, 0.12))
    turn = float(rng.uniform(0.62, 0.72))
    sprite.rectangle(0.05, eaves, turn, 1.0, near)
    sprite.polygon([(turn, eaves), (0.95, eaves), (0.95, 0.97), (turn, 1.0)], side)
    gable = (turn + 0.95) / 2
    sprite.polygon([(turn, eaves + 0.02), (gable, ridge + 0.05), (0.95, eaves + 0.02)], side)
    _boards(sprite, wall, eaves, turn)
    _openings(sprite, rng, light, eaves, turn)
    _roof(sprite, roof, eaves, ridge, turn, gable)
    if rng.random() < 0.6:
        x = float(rng.uniform(0.2, 0.42))
        sprite.rectangle(x, ridge - 0.05, x + 0.07, ridge + 0.16, (0.5, 0.3, 0.25))
        sprite.rectangle(x - 0.01, ridge - 0.06, x + 0.08, ridge - 0.025, (0.4, 0.25, 0.22))


def _boards(sprite: Sprite, wall: RGB, eaves: float, turn: float) -> None:
    if sprite.height < 60:
        return
    for y in np.arange(eaves + 0.05, 0.99, 0.055).tolist():
        sprite.rectangle(0.05, y, turn, y + 0.008, shade(wall, 0.86), inside=True)
    sprite.rectangle(0.05, eaves, turn, eaves + 0.04, shade(wall, 0.7), inside=True)


def _openings(sprite: Sprite, rng: np.random.Generator, light: Light, eaves: float, turn: float) -> None:
    """A door and windows; most panes are lit after sunset."""
    door = float(rng.choice((0.12, 0.3, 0.47)))
    trim: RGB = (0.93, 0.92, 0.88)
    sprite.rectangle(door - 0.015, 0.69, door + 0.115, 1.0, trim)
    sprite.rectangle(door, 0.71, door + 0.1, 1.0, mix((0.32, 0.18, 0.1), (0.14, 0.2, 0.25), float(rng.random())))
    sprite.disc(door + 0.085, 0.86, 0.012, (0.9, 0.8, 0.4))
    places = [x for x in (0.1, 0.28, 0.46) if abs(x + 0.065 - door - 0.05) > 0.12 and x + 0.13 < turn]
    for x in places:
        _window(sprite, rng, light, x, eaves + 0.16, 0.13, 0.18)
    _window(sprite, rng, light, (turn + 0.95) / 2 - 0.055, eaves + 0.14, 0.11, 0.18)


def _window(
    sprite: Sprite, rng: np.random.Generator, light: Light, x: float, y: float, width: float, height: float
) -> None:
    lit = light.night and rng.random() < 0.75
    sprite.rectangle(x - 0.014, y - 0.02, x + width + 0.014, y + height + 0.025, (0.92, 0.91, 0.88))
    sprite.rectangle(x, y, x + width, y + height, _LAMP if lit else _PANE, shines=lit)
    if not lit:
        sprite.polygon([(x, y), (x + width * 0.7, y), (x, y + height * 0.7)], (0.6, 0.72, 0.8), inside=True)
    sprite.rectangle(x + width * 0.46, y, x + width * 0.54, y + height, (0.9, 0.89, 0.85))
    sprite.rectangle(x, y + height * 0.46, x + width, y + height * 0.54, (0.9, 0.89, 0.85))


def _roof(sprite: Sprite, roof: RGB, eaves: float, ridge: float, turn: float, gable: float) -> None:
    label = CLASS_INDEX["roof"]
    face = [(0.0, eaves + 0.03), (gable - turn + 0.03, ridge), (gable, ridge), (turn - 0.03, eaves + 0.05)]
    sprite.polygon(face, roof, label=label)
    rows = 7 if sprite.height >= 50 else 0
    for row in range(1, rows):
        share = row / rows
        y0 = ridge + (eaves + 0.04 - ridge) * share
        x0, x1 = (gable - turn + 0.03) * (1 - share), gable + (turn - 0.03 - gable) * share
        sprite.polygon([(x0, y0), (x1, y0), (x1, y0 + 0.012), (x0, y0 + 0.012)], shade(roof, 0.78), inside=True)
    sprite.polygon(
        [(gable, ridge), (gable - 0.02, ridge + 0.05), (0.97, eaves + 0.07), (1.0, eaves + 0.03)],
        shade(roof, 0.6),
        label=label,
    )
    sprite.polygon(
        [(gable, ridge), (turn - 0.03, eaves + 0.05), (turn + 0.01, eaves + 0.05), (gable, ridge + 0.06)],
        shade(roof, 0.7),
        label=label,
    )


def draw_lighthouse(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A tapering white tower with red bands, gallery, lamp room and cap."""
    band: RGB = (0.78, 0.13, 0.12)
    sprite.polygon([(0.32, 0.24), (0.68, 0.24), (0.81, 0.96), (0.19, 0.96)], (0.94, 0.94, 0.92))
    for row in range(3):
        y0, y1 = 0.32 + row * 0.24, 0.44 + row * 0.24
        h0, h1 = 0.18 + 0.13 * (y0 - 0.24) / 0.72, 0.18 + 0.13 * (y1 - 0.24) / 0.72
        sprite.polygon([(0.5 - h0, y0), (0.5 + h0, y0), (0.5 + h1, y1), (0.5 - h1, y1)], band)
    for x, dark in ((0.5 + 0.16 * -np.sign(light.side), 0.84), (0.5 + 0.28 * -np.sign(light.side), 0.7)):
        _darken(sprite, float(x), dark, light)
    for y in (0.5, 0.74):
        sprite.rectangle(0.44, y, 0.56, y + 0.05, _LAMP if light.night else (0.2, 0.25, 0.3), shines=light.night)
    sprite.rectangle(0.43, 0.86, 0.57, 0.96, (0.3, 0.2, 0.15))
    _rocky_foot(sprite, rng, light)
    sprite.rectangle(0.2, 0.215, 0.8, 0.25, (0.25, 0.25, 0.28))
    sprite.rectangle(0.34, 0.11, 0.66, 0.215, _LAMP if light.night else (0.75, 0.85, 0.88), shines=light.night)
    for x in (0.34, 0.49, 0.64):
        sprite.rectangle(x - 0.012, 0.11, x + 0.012, 0.215, (0.25, 0.25, 0.28))
    sprite.polygon([(0.28, 0.115), (0.5, 0.02), (0.72, 0.115)], band)


def _rocky_foot(sprite: Sprite, rng: np.random.Generator, light: Light) -> None:
    """Rocks round the foot, labelled as what they are, so that it may also rise from the water."""
    label = CLASS_INDEX["rock"]
    for x, half, top in ((0.2, 0.2, 0.93), (0.8, 0.2, 0.92), (0.5, 0.26, 0.95)):
        tone = shade((0.47, 0.45, 0.44), float(rng.uniform(0.8, 1.1)))
        peak = x + float(rng.uniform(-0.05, 0.05))
        rim = [
            (x - half, 1.0),
            (x - half * 0.7, top + 0.02),
            (peak, top),
            (x + half * 0.75, top + 0.025),
            (x + half, 1.0),
        ]
        sprite.polygon(rim, tone, label=label)
        dark = rim[2:] if light.side < 0 else rim[:3]
        sprite.polygon([*dark, (peak, 1.0)], shade(tone, 0.65), label=label)


def _darken(sprite: Sprite, x: float, factor: float, light: Light) -> None:
    """Shade the body beyond column `x`, on the side that the light does not reach."""
    columns = np.linspace(0, 1, sprite.labels.shape[1], dtype=np.float32)[None]
    beyond = (columns - x) * -np.sign(light.side) > 0
    sprite.tint(np.where(beyond, np.float32(factor), np.float32(1.0)))


def draw_skyline(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A row of high office towers with grids of windows, some of them lit after sunset."""
    wide = sprite.width / sprite.height
    count = max(2, int(wide * 2.6))
    starts = (np.arange(count) + rng.uniform(-0.25, 0.25, count)) / count
    for index in rng.permutation(count).tolist():
        width = float(rng.uniform(0.75, 1.15) / count)
        left = float(np.clip(starts[index], 0, 1 - width))
        _tower(sprite, rng, light, left, float(rng.uniform(0.04, 0.5)), left + width)


def _tower(sprite: Sprite, rng: np.random.Generator, light: Light, left: float, top: float, right: float) -> None:
    tones: tuple[RGB, ...] = ((0.44, 0.52, 0.6), (0.62, 0.6, 0.58), (0.36, 0.42, 0.5), (0.7, 0.66, 0.6))
    tone = tones[int(rng.integers(len(tones)))]
    turn = left + (right - left) * (0.74 if light.side < 0 else 0.26)
    sprite.rectangle(left, top, right, 1.0, tone)
    dark = (turn, right) if light.side < 0 else (left, turn)
    if rng.random() < 0.4:
        sprite.rectangle(left + (right - left) * 0.3, top - 0.03, left + (right - left) * 0.6, top, shade(tone, 0.8))
    sprite.rectangle(dark[0], top, dark[1], 1.0, shade(tone, 0.7))
    wide = (right - left) * sprite.width / sprite.height
    columns = int(np.clip(wide / 0.055, 3, 9))
    rows = int(np.clip((1 - top) / 0.065, 4, 20))
    pitch_x, pitch_y = (right - left) / columns, (0.97 - top) / rows
    glass = shade(tone, 0.5) if rng.random() < 0.6 else (0.62, 0.76, 0.86)
    lit = rng.random((rows, columns)) < (0.5 if light.night else 0.0)
    for row in range(rows):
        y = top + 0.02 + row * pitch_y
        for column in range(columns):
            x, shines = left + (column + 0.2) * pitch_x, bool(lit[row, column])
            rgb = _LAMP if shines else glass
            sprite.rectangle(x, y, x + pitch_x * 0.6, y + pitch_y * 0.6, rgb, shines=shines)


def draw_fence(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """Broad pointed boards close together on two rails."""
    rgb = paints["fence"]
    boards = max(4, round(sprite.width / sprite.height * 3.6))
    sprite.rectangle(0, 0.2, 1, 0.96, shade(rgb, 0.6))
    pitch = 1 / boards
    for board in range(boards):
        x0, x1 = board * pitch + 0.06 * pitch, (board + 1) * pitch - 0.06 * pitch
        tone = shade(rgb, float(rng.uniform(0.88, 1.04)))
        sprite.polygon([(x0, 1.0), (x0, 0.16), ((x0 + x1) / 2, 0.02), (x1, 0.16), (x1, 1.0)], tone)
        sprite.polygon([(x1 - 0.22 * pitch, 1.0), (x1 - 0.22 * pitch, 0.12), (x1, 0.16), (x1, 1.0)], shade(tone, 0.82))
    for y in (0.32, 0.72):
        sprite.rectangle(0, y, 1, y + 0.08, shade(rgb, 0.9))
        sprite.rectangle(0, y + 0.08, 1, y + 0.11, shade(rgb, 0.55))


def draw_tent(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A ridge tent seen from the corner: dark opening with its flap turned back, and a long lit side."""
    rgb = paints["tent"]
    sprite.polygon([(0.3, 0.06), (0.82, 0.1), (1.0, 1.0), (0.55, 1.0)], shade(rgb, 0.7))
    for share in (0.35, 0.7):
        sprite.polygon(
            [
                (0.3 + 0.52 * share, 0.06 + 0.04 * share),
                (0.32 + 0.52 * share, 0.06 + 0.04 * share),
                (0.575 + 0.45 * share, 1.0),
                (0.55 + 0.45 * share, 1.0),
            ],
            shade(rgb, 0.58),
        )
    sprite.polygon([(0.3, 0.06), (0.58, 1.0), (0.0, 1.0)], rgb)
    inside: RGB = _LAMP if light.night else (0.16, 0.13, 0.12)
    sprite.polygon([(0.3, 0.24), (0.42, 1.0), (0.17, 1.0)], inside, shines=light.night)
    sprite.polygon([(0.3, 0.24), (0.42, 1.0), (0.5, 1.0), (0.36, 0.42)], shade(rgb, 1.18))
    sprite.polygon([(0.29, 0.04), (0.31, 0.04), (0.6, 1.0), (0.57, 1.0)], shade(rgb, 0.85))
    sprite.grain = 0.03


def draw_umbrella(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A sunshade: a scalloped dome of plain and paler panels on a pole."""
    rgb = paints["umbrella"]
    sprite.rectangle(0.475, 0.2, 0.525, 1.0, (0.86, 0.82, 0.74))
    panels = 6
    pale = mix(rgb, (1.0, 1.0, 1.0), 0.25)
    fractions = np.linspace(-1, 1, panels + 1)
    for panel in range(panels):
        a, b = fractions[panel], fractions[panel + 1]
        upper = [
            (0.5 + 0.49 * np.sin(f * np.pi / 2) * s, 0.58 - 0.54 * np.sqrt(max(0.0, 1 - s * s)))
            for f, s in [(a, t) for t in np.linspace(1, 0.05, 9)]
        ]
        lower = [
            (0.5 + 0.49 * np.sin(b * np.pi / 2) * s, 0.58 - 0.54 * np.sqrt(max(0.0, 1 - s * s)))
            for s in np.linspace(0.05, 1, 9)
        ]
        middle = (0.5 + 0.49 * np.sin((a + b) / 2 * np.pi / 2), 0.53)
        tone = shade(rgb if panel % 2 else pale, float(0.86 + 0.2 * (a + b) / 2 * light.side))
        sprite.polygon([*upper, *lower, middle], tone)
    sprite.disc(0.5, 0.035, 0.025, (0.9, 0.88, 0.8))
