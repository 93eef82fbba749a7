"""The hour and the weather: sky colours, the light that falls on things, and where it comes from."""

from dataclasses import dataclass

import numpy as np

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Hour:
    """The colours of an hour of the day, RGB 0..1; `ambient` multiplies what things look like in white light."""

    name: str
    zenith: RGB
    middle: RGB
    horizon: RGB
    ambient: RGB
    sun: bool
    moon: bool
    shadow: float
    weight: float


@dataclass(frozen=True)
class Light:
    """The light of one scene: `side` is -1 (from the left) to 1, `height` 0 (low) to 1, `haze` 0..1 at the horizon."""

    hour: Hour
    side: float
    height: float
    haze: float

    @property
    def night(self) -> bool:
        """Whether lamps are lit."""
        return self.hour.name in ("night", "dusk")


def _rgb(red: int, green: int, blue: int) -> RGB:
    return red / 255, green / 255, blue / 255


HOURS: tuple[Hour, ...] = (
    Hour(
        "noon", _rgb(44, 112, 205), _rgb(102, 168, 232), _rgb(198, 226, 244), (1.0, 1.0, 0.97), True, False, 0.42, 0.3
    ),
    Hour(
        "morning",
        _rgb(94, 150, 214),
        _rgb(168, 200, 226),
        _rgb(252, 226, 194),
        (1.0, 0.96, 0.89),
        True,
        False,
        0.34,
        0.15,
    ),
    Hour(
        "golden",
        _rgb(84, 120, 182),
        _rgb(226, 188, 150),
        _rgb(255, 206, 122),
        (1.04, 0.93, 0.79),
        True,
        False,
        0.4,
        0.17,
    ),
    Hour("dusk", _rgb(48, 46, 104), _rgb(176, 88, 128), _rgb(255, 152, 92), (0.82, 0.71, 0.74), True, True, 0.25, 0.14),
    Hour("night", _rgb(8, 13, 38), _rgb(20, 32, 74), _rgb(58, 78, 126), (0.56, 0.58, 0.67), False, True, 0.22, 0.16),
    Hour(
        "overcast",
        _rgb(142, 153, 167),
        _rgb(176, 185, 194),
        _rgb(212, 217, 220),
        (0.9, 0.92, 0.93),
        False,
        False,
        0.14,
        0.08,
    ),
)


def draw_light(rng: np.random.Generator) -> Light:
    """An hour by its weight, with the light from a side at random."""
    weights = np.array([hour.weight for hour in HOURS])
    hour = HOURS[int(rng.choice(len(HOURS), p=weights / weights.sum()))]
    low = hour.name in ("golden", "dusk", "morning")
    height = float(rng.uniform(0.1, 0.4) if low else rng.uniform(0.55, 0.9))
    return Light(hour, float(rng.uniform(0.35, 0.95) * rng.choice((-1, 1))), height, float(rng.uniform(0.25, 0.75)))
