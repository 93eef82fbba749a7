"""Labelled outdoor scenes, any number of them, by seed: the one function that the trainer and the README call."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lseg_serve.demo.drawing import buildings, land, plants, sky, water
from lseg_serve.demo.drawing.camera import choose_tilt, expose, margin_size, tilted
from lseg_serve.demo.drawing.canvas import Canvas
from lseg_serve.demo.drawing.layout import Layout, Place, thing_of
from lseg_serve.demo.drawing.light import Light, draw_light
from lseg_serve.demo.drawing.paints import HeldOut, choose_colour, paint_of
from lseg_serve.demo.drawing.sprite import Sprite
from lseg_serve.demo.drawing.themes import FLYING, THEMES, Band, Theme
from lseg_serve.demo.drawing.things import FROM_BEHIND, THINGS, Thing
from lseg_serve.demo.vocabulary import CLASS_INDEX, COLOUR_INDEX, HELD_OUT_PAIRS, pairs_present

SMALLEST, LARGEST = 64, 2000

# A held-out thing below this share of the image would not count as clearly visible.
_CLEARLY_VISIBLE = 0.004
_ATTEMPTS = 40


@dataclass(frozen=True)
class Scene:
    """An image and its truth.

    `image` uint8 [H, W, 3] RGB; `classes` uint8 [H, W], each an index into `vocabulary.LABELS`; `colours` uint8
    [H, W], each an index into `vocabulary.COLOURS` or `vocabulary.NO_COLOUR`.
    """

    image: npt.NDArray[np.uint8]
    classes: npt.NDArray[np.uint8]
    colours: npt.NDArray[np.uint8]


def draw_scene(seed: int, size: tuple[int, int] | None = None, *, held_out: HeldOut = "exclude") -> Scene:
    """The scene of `seed`, the same every time, at `size` (width, height in px, 64..2000 each; None: any size).

    `held_out` "exclude" draws no pair of `HELD_OUT_PAIRS`, "only" makes sure that one is clearly visible, "any"
    takes colours as they come. Raises ValueError for a size out of bounds.
    """
    if size is not None and not all(SMALLEST <= side <= LARGEST for side in size):
        raise ValueError(f"a scene's sides are {SMALLEST} to {LARGEST} px, not {size[0]} x {size[1]}")
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng((seed, attempt))
        scene = _attempt(rng, size or _any_size(rng), held_out)
        if held_out != "only" or _shows_held_out(scene):
            return scene
    raise RuntimeError(f"seed {seed} found no room for a held-out pair")


def _shows_held_out(scene: Scene) -> bool:
    return bool(HELD_OUT_PAIRS & pairs_present(scene.classes, scene.colours, _CLEARLY_VISIBLE).keys())


def _any_size(rng: np.random.Generator) -> tuple[int, int]:
    side, stretch = math.exp(rng.uniform(math.log(160), math.log(900))), math.exp(rng.uniform(-0.6, 0.6))
    width, height = (int(np.clip(value, SMALLEST, LARGEST)) for value in (side * stretch, side / stretch))
    return width, height


def _attempt(rng: np.random.Generator, size: tuple[int, int], held_out: HeldOut) -> Scene:
    width, height = size
    tilt = choose_tilt(rng, width, height)
    wide, high = margin_size(width, height, tilt)
    canvas = Canvas(wide, high, int(high * rng.uniform(0.34, 0.52)))
    light = draw_light(rng)
    wanted = _wanted_pair(rng) if held_out == "only" else None
    theme = _choose_theme(rng, wanted[1] if wanted else None)
    _paint_scenery(canvas, rng, light, theme, needs_road=wanted is not None and "road" in thing_of(wanted[1]).on)
    for place in _choose_places(canvas, rng, theme, held_out, wanted):
        _paint_thing(canvas, rng, light, place)
    image, classes, colours = tilted(canvas, width, height, tilt)
    return Scene(expose(image, rng, canvas.unit), np.ascontiguousarray(classes), np.ascontiguousarray(colours))


def _wanted_pair(rng: np.random.Generator) -> tuple[str, str]:
    pairs = sorted(HELD_OUT_PAIRS)
    return pairs[int(rng.integers(len(pairs)))]


def _choose_theme(rng: np.random.Generator, label: str | None) -> Theme:
    """A theme by its weight, among those where a thing of `label` may be."""
    fitting = [theme for theme in THEMES if label is None or label in FLYING or label in theme.things]
    weights = np.array([theme.weight for theme in fitting])
    return fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))]


def _paint_scenery(canvas: Canvas, rng: np.random.Generator, light: Light, theme: Theme, needs_road: bool) -> None:
    """Sky, what closes the view, and the ground with its road."""
    sky.paint_sky(canvas, rng, light, cloudy=rng.random() < 0.62)
    if rng.random() < theme.mountains:
        land.paint_mountains(canvas, rng, light)
    if rng.random() < theme.skyline:
        _paint_backdrop(canvas, rng, light, "skyscraper", (0.26, 0.5))
    elif rng.random() < theme.wood:
        _paint_backdrop(canvas, rng, light, "tree", (0.1, 0.18))
    plane = land.ground_plane(canvas)
    layout = theme.layouts[int(rng.integers(len(theme.layouts)))]
    if layout[0].material != "water" and rng.random() < 0.6:
        land.paint_hills(canvas, rng, light, layout[0].material)
    _paint_bands(canvas, rng, light, plane, layout)
    chance = rng.random()
    if chance < theme.road_across or needs_road:
        start = float(rng.uniform(0.3, 0.58))
        land.paint_road_across(canvas, rng, light, plane, start, float(rng.uniform(0.26, 0.36)))
    elif chance < theme.road_across + theme.road_away:
        land.paint_road_away(canvas, rng, light, plane, float(rng.uniform(0.02, 0.08)))
    land.paint_blades(canvas, rng, light)


def _paint_bands(
    canvas: Canvas, rng: np.random.Generator, light: Light, plane: land.Plane, bands: tuple[Band, ...]
) -> None:
    """The grounds one before another, each only as far as the next one does not cover it."""
    edges = [land.band_edge(canvas, rng, float(rng.uniform(*band.start)), band.wave) for band in bands]
    lasts = [min(canvas.height, int(edge.max()) + 2) for edge in edges[1:]] + [canvas.height]
    for band, edge, last in zip(bands, edges, lasts, strict=True):
        if band.material == "water":
            water.paint_water(canvas, rng, light, plane, edge, last)
        else:
            land.paint_band(canvas, rng, light, plane, band.material, edge, last)


def _paint_backdrop(
    canvas: Canvas, rng: np.random.Generator, light: Light, label: str, height: tuple[float, float]
) -> None:
    """A skyline or a wood along all or part of the horizon."""
    tall = int(canvas.unit * rng.uniform(*height))
    wide = int(canvas.width * rng.uniform(0.45, 1.1)) if rng.random() < 0.5 else canvas.width + 8
    left = int(rng.uniform(0, canvas.width - wide)) if wide < canvas.width else (canvas.width - wide) // 2
    sprite = Sprite(wide, min(tall, canvas.horizon), CLASS_INDEX[label])
    draw = buildings.draw_skyline if label == "skyscraper" else plants.draw_tree_line
    draw(sprite, rng, light, {})
    canvas.stamp(sprite, left, canvas.horizon + 2, light, shadow=False, haze=0.12 + 0.3 * light.haze)


def _choose_places(
    canvas: Canvas, rng: np.random.Generator, theme: Theme, held_out: HeldOut, wanted: tuple[str, str] | None
) -> list[Place]:
    """Everything that will be in the scene with its colours, farthest first."""
    layout = Layout(canvas, rng)
    if wanted is not None:
        colour, label = wanted
        thing = thing_of(label)
        layout.find(thing, _colours(rng, thing, held_out) | {label: colour}, prominent=True, tries=60)
    for label, chance in FLYING.items():
        if rng.random() < chance:
            _settle(layout, rng, THINGS[label], held_out)
    labels = list(theme.things)
    weights = np.array([theme.things[label] for label in labels])
    count = min(len(labels), int(rng.integers(4, 7)))
    for index in rng.choice(len(labels), count, replace=False, p=weights / weights.sum()).tolist():
        _settle(layout, rng, THINGS[labels[index]], held_out)
    return sorted(layout.places, key=lambda place: place.depth)


def _settle(layout: Layout, rng: np.random.Generator, thing: Thing, held_out: HeldOut) -> None:
    if layout.canvas.road_leads_away:
        thing = FROM_BEHIND.get(thing.label, thing)
    for _ in range(int(rng.integers(thing.group[0], thing.group[1] + 1))):
        layout.find(thing, _colours(rng, thing, held_out))


def _colours(rng: np.random.Generator, thing: Thing, held_out: HeldOut) -> dict[str, str]:
    return {label: choose_colour(rng, label, held_out) for label in thing.coloured}


def _paint_thing(canvas: Canvas, rng: np.random.Generator, light: Light, place: Place) -> None:
    thing = place.thing
    sprite = Sprite(place.width, place.height, CLASS_INDEX[thing.label])
    paints = {label: paint_of(rng, colour) for label, colour in place.colours.items()}
    thing.draw(sprite, rng, light, paints)
    if thing.label in _EITHER_WAY and rng.random() < 0.5:
        sprite.mirror()
    colours = {CLASS_INDEX[label]: COLOUR_INDEX[colour] for label, colour in place.colours.items()}
    afloat = _stands_on(canvas, place) == "water"
    if afloat:
        canvas.reflect(sprite, place.left, place.bottom, light)
    haze = 0.0 if thing.flies else 0.3 * light.haze * math.exp(-5 * place.depth)
    canvas.stamp(
        sprite, place.left, place.bottom, light, colours=colours, shadow=not (afloat or thing.flies), haze=haze
    )


def _stands_on(canvas: Canvas, place: Place) -> str:
    x = min(canvas.width - 1, max(0, place.left + place.width // 2))
    return "water" if canvas.classes[min(canvas.height - 1, place.bottom - 1), x] == CLASS_INDEX["water"] else "land"


# Mirroring swaps the lit side too, so only things whose shading does not follow the light are turned.
_EITHER_WAY = ("car", "bus", "boat", "airplane", "person", "cow", "horse", "sheep", "bird", "tent", "house")
