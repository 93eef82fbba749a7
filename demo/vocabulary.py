"""The words of the drawn world: base labels, their other names, colours, and the pairs kept for testing."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

NO_COLOUR = 255

COLOURS: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black")


THING = "thing"  # after a colour: everything that carries it


class UnknownPhraseError(ValueError):
    """A phrase that names nothing in the drawn world."""


@dataclass(frozen=True)
class Label:
    """One base label; its place in `LABELS` is its class index."""

    name: str
    synonyms: tuple[str, ...]
    hypernyms: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()

    @property
    def coloured(self) -> bool:
        """Whether things of this label carry a colour word."""
        return bool(self.colours)


@dataclass(frozen=True)
class Meaning:
    """What a phrase names: any of these class indices, and of that colour where one is said."""

    classes: frozenset[int]
    colour: int | None = None


LABELS: tuple[Label, ...] = (
    Label("sky", ("heavens", "firmament")),
    Label("cloud", ("cumulus", "cloudbank")),
    Label("sun", ("sunshine", "solar disc"), ("celestial body",)),
    Label("moon", ("full moon", "lunar disc"), ("celestial body",)),
    Label("mountain", ("peak", "mountain range"), ("landform",)),
    Label("water", ("sea", "lake", "ocean")),
    Label("grass", ("lawn", "meadow", "turf"), ("plant", "vegetation", "ground")),
    Label("sand", ("beach", "dune", "desert"), ("ground",)),
    Label("snow", ("snowfield", "snow cover"), ("ground",)),
    Label("road", ("street", "asphalt", "highway"), ("ground",)),
    Label("field", ("ploughed land", "farmland", "soil"), ("ground",)),
    Label("rock", ("stone", "boulder"), ("landform",)),
    Label("tree", ("oak", "woods"), ("plant", "vegetation")),
    Label("cactus", ("cacti", "saguaro"), ("plant", "vegetation")),
    Label(
        "flower",
        ("blossom", "bloom", "flower bed"),
        ("plant", "vegetation"),
        ("red", "orange", "yellow", "blue", "purple", "pink", "white"),
    ),
    Label(
        "house",
        ("cottage", "home"),
        ("building", "architecture"),
        ("red", "orange", "yellow", "green", "blue", "pink", "white"),
    ),
    Label(
        "roof",
        ("rooftop", "housetop"),
        ("building", "architecture"),
        ("red", "orange", "green", "blue", "purple", "black"),
    ),
    Label("lighthouse", ("beacon", "light tower"), ("building", "architecture")),
    Label("skyscraper", ("high-rise", "office tower"), ("building", "architecture")),
    Label("fence", ("railing", "paling"), (), ("red", "yellow", "green", "blue", "white", "black")),
    Label(
        "tent", ("camping tent", "canvas shelter"), (), ("red", "orange", "yellow", "green", "blue", "purple", "white")
    ),
    Label(
        "car",
        ("automobile", "motorcar"),
        ("vehicle", "road vehicle"),
        ("red", "orange", "yellow", "green", "blue", "purple", "white", "black"),
    ),
    Label(
        "bus",
        ("coach", "omnibus"),
        ("vehicle", "road vehicle"),
        ("red", "orange", "yellow", "green", "blue", "pink", "white"),
    ),
    Label(
        "boat",
        ("sailboat", "yacht"),
        ("vehicle", "watercraft"),
        ("red", "orange", "yellow", "green", "blue", "white", "black"),
    ),
    Label(
        "balloon",
        ("hot-air balloon", "aerostat"),
        ("vehicle", "aircraft"),
        ("red", "orange", "yellow", "green", "blue", "purple", "pink"),
    ),
    Label("airplane", ("plane", "jet", "aeroplane"), ("vehicle", "aircraft")),
    Label("umbrella", ("parasol", "sunshade"), (), ("red", "orange", "yellow", "green", "blue", "purple", "pink")),
    Label("person", ("human", "pedestrian", "human being")),
    Label("cow", ("cattle", "bull"), ("animal", "livestock")),
    Label("horse", ("pony", "stallion"), ("animal", "livestock")),
    Label("sheep", ("lamb", "ewe"), ("animal", "livestock")),
    Label("bird", ("seagull", "gull"), ("animal",)),
)

# Never drawn for training. Each colour and each label of these still occurs in other pairs, so that a model
# that reads the two words apart can name a combination it has never seen.
HELD_OUT_PAIRS: frozenset[tuple[str, str]] = frozenset(
    {
        ("red", "boat"),
        ("blue", "house"),
        ("yellow", "car"),
        ("green", "tent"),
        ("purple", "balloon"),
        ("orange", "umbrella"),
        ("pink", "bus"),
        ("white", "flower"),
    }
)

CLASS_INDEX: dict[str, int] = {label.name: index for index, label in enumerate(LABELS)}
COLOUR_INDEX: dict[str, int] = {colour: index for index, colour in enumerate(COLOURS)}


@cache
def words() -> dict[str, frozenset[int]]:
    """Every name, synonym and hypernym with the class indices that it names."""
    found: dict[str, set[int]] = {}
    for index, label in enumerate(LABELS):
        for word in (label.name, *label.synonyms, *label.hypernyms):
            found.setdefault(word, set()).add(index)
    return {word: frozenset(classes) for word, classes in found.items()}


@cache
def hypernyms() -> tuple[str, ...]:
    """Every hypernym once, in order of first use."""
    return tuple(dict.fromkeys(word for label in LABELS for word in label.hypernyms))


def meaning(phrase: str) -> Meaning:
    """What `phrase` names; a colour word may stand before any word of a coloured label.

    Case, surrounding blanks and a leading article do not matter. Raises `UnknownPhraseError` for a phrase without
    meaning here, such as an unknown word, or a colour before labels that carry none.
    """
    text = " ".join(phrase.lower().split())
    for article in ("a ", "an ", "the "):
        text = text.removeprefix(article)
    known = words()
    if text in known:
        return Meaning(known[text])
    colour, _, noun = text.partition(" ")
    named = range(len(LABELS)) if noun == THING else known.get(noun, ())
    classes = frozenset(index for index in named if LABELS[index].coloured)
    if colour not in COLOUR_INDEX or not classes:
        raise UnknownPhraseError(f"nothing in the drawn world is called {phrase!r}")
    return Meaning(classes, COLOUR_INDEX[colour])


def phrase_mask(phrase: str, classes: npt.NDArray[np.uint8], colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """The pixels [H, W] of a scene that `phrase` names, from its truth `classes` and `colours` (uint8 [H, W])."""
    meant = meaning(phrase)
    chosen = np.zeros(256, dtype=np.bool_)
    chosen[list(meant.classes)] = True
    mask: npt.NDArray[np.bool_] = chosen[classes]
    return mask if meant.colour is None else mask & (colours == meant.colour)


def pairs_present(
    classes: npt.NDArray[np.uint8], colours: npt.NDArray[np.uint8], minimum: float = 0.0
) -> dict[tuple[str, str], float]:
    """The (colour, label) pairs of a scene, each with its share of the pixels, where above `minimum`."""
    keys = classes.astype(np.int32) * 256 + colours
    values, counts = np.unique(keys[colours != NO_COLOUR], return_counts=True)
    shares = {
        (COLOURS[value % 256], LABELS[value // 256].name): count / classes.size
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    }
    return {pair: share for pair, share in shares.items() if share > minimum}
