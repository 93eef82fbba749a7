"""Where things go: feet on ground that suits them, little hidden by one another, smaller the farther away."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lseg_serve.demo.drawing.canvas import Canvas
from lseg_serve.demo.drawing.things import THINGS, Thing
from lseg_serve.demo.vocabulary import CLASS_INDEX

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Place:
    """A thing's spot in the image: its box in px, and its depth (0 horizon, 1 lower edge)."""

    thing: Thing
    left: int
    bottom: int
    width: int
    height: int
    depth: float
    colours: dict[str, str] = field(default_factory=dict)


@dataclass
class Layout:
    """The spots taken so far in one image."""

    canvas: Canvas
    rng: np.random.Generator
    places: list[Place] = field(default_factory=list)

    def find(self, thing: Thing, colours: dict[str, str], *, prominent: bool = False, tries: int = 14) -> Place | None:
        """Take a spot for `thing`, or None where nothing suits it; a `prominent` one is large and whole."""
        for _ in range(tries):
            place = self._flying(thing, colours) if thing.flies else self._standing(thing, colours, prominent)
            if place is not None and self._visible(place, 0.8 if prominent else 0.55) and self._free(place):
                self.places.append(place)
                return place
        return None

    def _standing(self, thing: Thing, colours: dict[str, str], prominent: bool) -> Place | None:
        rng, canvas = self.rng, self.canvas
        low, high = thing.depth
        depth = float(rng.uniform(max(low, (low + high) / 2) if prominent else low, high))
        height = int(canvas.unit * rng.uniform(*thing.height) * (0.34 + 0.66 * depth))
        width = int(height * rng.uniform(*thing.aspect))
        middle = int(rng.uniform(0.06, 0.94) * canvas.width)
        foot = min(canvas.height, int(canvas.horizon + depth * (canvas.height - canvas.horizon)))
        if not _suits(canvas.classes, thing, middle, foot, width):
            return None
        return Place(thing, middle - width // 2, foot, width, height, depth, colours)

    def _flying(self, thing: Thing, colours: dict[str, str]) -> Place | None:
        rng, canvas = self.rng, self.canvas
        height = int(canvas.unit * rng.uniform(*thing.height))
        width = int(height * rng.uniform(*thing.aspect))
        middle = int(rng.uniform(0.1, 0.9) * canvas.width)
        bottom = max(height + 1, int(canvas.horizon * rng.uniform(*thing.depth)))
        if bottom > canvas.horizon or canvas.classes[bottom - height // 2, min(canvas.width - 1, middle)] in _BODIES:
            return None
        return Place(thing, middle - width // 2, bottom, width, height, 0.0, colours)

    def _visible(self, place: Place, share: float) -> bool:
        """Whether enough of it lies within the image."""
        inside = min(self.canvas.width, place.left + place.width) - max(0, place.left)
        return inside >= share * place.width and place.bottom - place.height > -0.35 * place.height

    def _free(self, place: Place) -> bool:
        return all(_overlap(place, other) < 0.3 for other in self.places)


def _overlap(first: Place, second: Place) -> float:
    """Shared area over the smaller of two boxes."""
    across = min(first.left + first.width, second.left + second.width) - max(first.left, second.left)
    down = min(first.bottom, second.bottom) - max(first.bottom - first.height, second.bottom - second.height)
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / max(1, min(first.width * first.height, second.width * second.height))


def _suits(classes: npt.NDArray[np.uint8], thing: Thing, middle: int, foot: int, width: int) -> bool:
    """Whether the ground under the middle and both ends of the foot is of a kind that `thing` may touch."""
    rows = [foot - 1, foot - 1 - width // 6, foot - 1 - width // 3] if thing.flat else [foot - 1]
    xs = np.clip([middle - width // 3, middle, middle + width // 3], 0, classes.shape[1] - 1)
    touched = classes[np.ix_(np.clip(rows, 0, classes.shape[0] - 1), xs)]
    return bool(np.isin(touched, [CLASS_INDEX[name] for name in thing.on]).all())


_BODIES = (CLASS_INDEX["sun"], CLASS_INDEX["moon"])


def thing_of(label: str) -> Thing:
    """The thing that carries `label` (a roof comes with its house)."""
    return THINGS["house" if label == "roof" else label]
