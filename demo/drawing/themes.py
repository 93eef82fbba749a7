"""The kinds of scenery: which grounds lie one before another, what closes the view, and what may stand there."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Band:
    """A ground that begins at a depth drawn from `start` (0 horizon, 1 lower edge), its edge waving by `wave`."""

    material: str
    start: Range
    wave: float = 0.03


@dataclass(frozen=True)
class Theme:
    """A kind of scenery; `mountains`, `skyline`, `wood`, `road_across`, `road_away` are chances, `things` weights."""

    name: str
    weight: float
    layouts: tuple[tuple[Band, ...], ...]
    things: dict[str, float]
    mountains: float = 0.5
    skyline: float = 0.0
    wood: float = 0.0
    road_across: float = 0.0
    road_away: float = 0.0


def _from(material: str, low: float = 0.0, high: float = 0.0, wave: float = 0.03) -> Band:
    return Band(material, (low, high), wave)


THEMES: tuple[Theme, ...] = (
    Theme(
        "coast",
        0.19,
        (
            (_from("water"), _from("sand", 0.4, 0.62, 0.05)),
            (_from("water"), _from("sand", 0.36, 0.5, 0.04), _from("grass", 0.7, 0.85, 0.04)),
        ),
        {"boat": 3, "umbrella": 3, "person": 1.5, "lighthouse": 3, "rock": 1.6, "tent": 0.8, "horse": 0.5},
        mountains=0.4,
        skyline=0.15,
    ),
    Theme(
        "lake",
        0.13,
        (
            (_from("grass"), _from("water", 0.1, 0.2), _from("grass", 0.6, 0.74, 0.05)),
            (_from("water"), _from("grass", 0.4, 0.6, 0.05)),
        ),
        {
            "boat": 3.2,
            "tree": 1.6,
            "tent": 2.2,
            "lighthouse": 1.4,
            "flower": 1.4,
            "horse": 1,
            "rock": 1.2,
            "person": 1,
            "umbrella": 1,
        },
        mountains=0.75,
        wood=0.3,
    ),
    Theme(
        "farm",
        0.2,
        (
            (_from("grass"), _from("field", 0.08, 0.22), _from("grass", 0.5, 0.68, 0.04)),
            (_from("field"), _from("grass", 0.34, 0.5, 0.04)),
            (_from("grass"), _from("field", 0.45, 0.6, 0.03)),
        ),
        {"cow": 3, "horse": 2.6, "sheep": 2.8, "fence": 2.2, "house": 1.4, "tree": 1.2, "flower": 1.2, "person": 0.6},
        mountains=0.4,
        wood=0.35,
    ),
    Theme(
        "desert",
        0.2,
        ((_from("sand"),), (_from("sand"), _from("grass", 0.7, 0.85, 0.06))),
        {"cactus": 12, "rock": 2, "tent": 1.5, "person": 1, "car": 1.4, "bus": 1.4, "horse": 1.2},
        mountains=0.6,
        road_across=0.3,
        road_away=0.3,
    ),
    Theme(
        "winter",
        0.17,
        ((_from("snow"),), (_from("snow"), _from("water", 0.12, 0.22), _from("snow", 0.5, 0.65, 0.05))),
        {
            "house": 2,
            "tree": 1.6,
            "fence": 2.2,
            "person": 1.2,
            "sheep": 1.6,
            "tent": 1.3,
            "rock": 1.4,
            "car": 1,
            "bus": 1.2,
            "boat": 0.7,
        },
        mountains=0.55,
        wood=0.25,
        road_across=0.35,
    ),
    Theme(
        "town",
        0.19,
        ((_from("grass"),), (_from("snow"),), (_from("water"), _from("grass", 0.22, 0.3, 0.0))),
        {"bus": 3, "car": 3, "person": 1.5, "flower": 1.8, "tree": 1.0, "fence": 1.2, "umbrella": 0.8, "boat": 0.8},
        mountains=0.2,
        skyline=0.95,
        road_across=0.85,
        road_away=0.15,
    ),
    Theme(
        "village",
        0.14,
        ((_from("grass"),),),
        {
            "house": 3,
            "car": 1.5,
            "bus": 1.2,
            "flower": 1.8,
            "fence": 1.4,
            "tree": 1.2,
            "cow": 1,
            "sheep": 1,
            "horse": 0.8,
            "person": 0.8,
            "umbrella": 0.8,
        },
        mountains=0.5,
        wood=0.35,
        road_across=0.5,
        road_away=0.4,
    ),
)

# Chance of each flying thing, whatever the scenery.
FLYING: dict[str, float] = {"balloon": 0.24, "airplane": 0.2, "bird": 0.24}
