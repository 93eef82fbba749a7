"""Every thing that can stand, float or fly in a scene: its size, where it may be, and how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lseg_serve.demo.drawing import buildings, creatures, plants, vehicles
from lseg_serve.demo.drawing.light import RGB, Light
from lseg_serve.demo.drawing.sprite import Sprite, mix, shade

Paints = dict[str, RGB]
Draw = Callable[[Sprite, np.random.Generator, Light, Paints], None]
Range = tuple[float, float]


@dataclass(frozen=True)
class Thing:
    """One kind of thing.

    `height` is a share of the image's unit at the lower edge, `aspect` its width over its height, `on` the labels
    its foot may touch ("sky" for what flies), `depth` where its foot may be (0 horizon, 1 lower edge; for what flies,
    the share of the sky's height), `group` how many of it come together,
    `coloured` the labels in it that take a colour, and `flat` says that what lies behind its middle must suit it too.
    """

    label: str
    draw: Draw
    height: Range
    aspect: Range
    on: tuple[str, ...]
    depth: Range = (0.12, 0.95)
    group: tuple[int, int] = (1, 1)
    coloured: tuple[str, ...] = ()
    flat: bool = False

    @property
    def flies(self) -> bool:
        """Whether it hangs in the sky."""
        return self.on == ("sky",)


def draw_rock(sprite: Sprite, rng: np.random.Generator, light: Light, paints: Paints) -> None:
    """A boulder of a few facets, darkest away from the light."""
    stone = mix((0.52, 0.51, 0.5), (0.44, 0.4, 0.38), float(rng.random()))
    count = 11
    angles = np.linspace(np.pi, 2 * np.pi, count)
    # A power below one swells the half circle towards a box: boulders, not tents.
    swell = np.abs(np.stack([np.cos(angles), np.sin(angles)])) ** 0.84
    reach = rng.uniform(0.84, 1.0, count)
    xs, ys = 0.5 + 0.49 * np.sign(np.cos(angles)) * swell[0] * reach, 1 - 0.98 * swell[1] * reach
    rim = list(zip(xs.tolist(), ys.tolist(), strict=True))
    rim[0], rim[-1] = (0.02, 1.0), (0.98, 1.0)
    sprite.polygon(rim, stone)
    inner = [
        (0.5 + (x - 0.5) * 0.58 + 0.1 * light.side, 0.36 + (y - 0.2) * 0.5 + float(rng.uniform(-0.05, 0.05)))
        for x, y in rim
    ]
    for k in range(count - 1):
        out = np.array([(rim[k][0] + rim[k + 1][0]) / 2 - 0.5, (rim[k][1] + rim[k + 1][1]) / 2 - 0.8])
        out = out / (np.linalg.norm(out) + 1e-6)
        facing = float(out[0] * light.side * 0.7 - out[1] * 0.5)
        tone = shade(stone, 0.82 + 0.42 * facing + float(rng.uniform(-0.08, 0.08)))
        sprite.polygon([rim[k], rim[k + 1], inner[k + 1], inner[k]], tone, inside=True)
    sprite.polygon([*inner, (0.98, 1.0), (0.02, 1.0)], shade(stone, 0.86), inside=True)
    middle = count // 2
    away = (
        [*inner[middle:], (0.98, 1.0), (0.6, 1.0)]
        if light.side < 0
        else [*inner[: middle + 1][::-1], (0.02, 1.0), (0.4, 1.0)]
    )
    sprite.polygon(away, shade(stone, 0.62), inside=True)
    sprite.grain = 0.16
    sprite.roundness = 0.3


_SOLID = ("grass", "sand", "snow")

THINGS: dict[str, Thing] = {
    thing.label: thing
    for thing in (
        Thing("rock", draw_rock, (0.15, 0.26), (1.2, 1.9), ("grass", "sand", "snow", "water"), group=(1, 3)),
        Thing("tree", plants.draw_tree, (0.5, 0.78), (0.72, 0.95), ("grass", "snow"), (0.05, 0.7), (1, 4)),
        Thing("cactus", plants.draw_cactus, (0.34, 0.58), (0.5, 0.62), ("sand",), (0.1, 0.85), (1, 4)),
        Thing(
            "flower",
            plants.draw_flowers,
            (0.15, 0.24),
            (1.4, 2.8),
            ("grass",),
            (0.3, 1.0),
            (1, 2),
            ("flower",),
            flat=True,
        ),
        Thing("house", buildings.draw_house, (0.42, 0.6), (1.15, 1.45), _SOLID, (0.06, 0.5), (1, 2), ("house", "roof")),
        Thing(
            "lighthouse", buildings.draw_lighthouse, (0.66, 0.95), (0.3, 0.36), ("sand", "grass", "water"), (0.05, 0.6)
        ),
        Thing(
            "fence", buildings.draw_fence, (0.15, 0.21), (2.2, 4.5), (*_SOLID, "field"), (0.15, 0.9), (1, 1), ("fence",)
        ),
        Thing("tent", buildings.draw_tent, (0.24, 0.36), (1.2, 1.5), _SOLID, (0.2, 0.85), (1, 2), ("tent",)),
        Thing("car", vehicles.draw_car, (0.19, 0.25), (2.4, 2.8), ("road",), (0.2, 1.0), (1, 2), ("car",)),
        Thing("bus", vehicles.draw_bus, (0.3, 0.38), (2.2, 2.7), ("road",), (0.15, 0.95), (1, 1), ("bus",)),
        Thing("boat", vehicles.draw_boat, (0.3, 0.46), (0.95, 1.2), ("water",), (0.08, 0.8), (1, 2), ("boat",)),
        Thing("balloon", vehicles.draw_balloon, (0.2, 0.36), (0.74, 0.82), ("sky",), (0.3, 0.85), (1, 2), ("balloon",)),
        Thing("airplane", vehicles.draw_airplane, (0.09, 0.14), (2.8, 3.3), ("sky",), (0.2, 0.6)),
        Thing(
            "umbrella",
            buildings.draw_umbrella,
            (0.3, 0.4),
            (1.05, 1.3),
            ("sand", "grass"),
            (0.2, 0.85),
            (1, 2),
            ("umbrella",),
        ),
        Thing(
            "person", creatures.draw_person, (0.3, 0.42), (0.41, 0.48), (*_SOLID, "road", "field"), (0.3, 0.95), (1, 3)
        ),
        Thing("cow", creatures.draw_cow, (0.24, 0.31), (1.45, 1.6), ("grass", "field"), (0.25, 0.95), (1, 3)),
        Thing(
            "horse", creatures.draw_horse, (0.29, 0.38), (1.15, 1.3), ("grass", "field", "sand"), (0.25, 0.95), (1, 2)
        ),
        Thing("sheep", creatures.draw_sheep, (0.2, 0.27), (1.3, 1.45), ("grass", "field", "snow"), (0.3, 0.95), (1, 3)),
        Thing("bird", creatures.draw_bird, (0.1, 0.16), (1.5, 1.9), ("sky",), (0.2, 0.75), (1, 3)),
    )
}

# On a road that leads away one sees these from behind.
FROM_BEHIND: dict[str, Thing] = {
    "car": Thing(
        "car", vehicles.draw_car_from_behind, (0.24, 0.3), (1.15, 1.3), ("road",), (0.2, 0.95), coloured=("car",)
    ),
    "bus": Thing(
        "bus", vehicles.draw_bus_from_behind, (0.4, 0.5), (0.82, 0.92), ("road",), (0.15, 0.8), coloured=("bus",)
    ),
}
