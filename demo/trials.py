"""The trials of the demo's weights: each asks the served path about scenes that training never drew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from lseg_serve.demo.cache import FIRST_TEST_SEED, scene_size
from lseg_serve.demo.measure import Confusion, Overlaps
from lseg_serve.demo.scenes import Scene, draw_scene
from lseg_serve.demo.vocabulary import HELD_OUT_PAIRS, LABELS, pairs_present, phrase_mask
from lseg_serve.segmenter import Segmenter

NAMES: tuple[str, ...] = tuple(label.name for label in LABELS)

_FIRST_HELD_OUT_SEED = FIRST_TEST_SEED + 500_000
_WORD_STREAM = 3
_SYLLABLES = ("bla", "dro", "fi", "gno", "ka", "lu", "mep", "nor", "pli", "qua", "ste", "tro", "vu", "wem", "xi", "zop")


def test_scenes(count: int) -> Iterator[tuple[int, Scene]]:
    """(seed, scene) of the first `count` test scenes, of any size and aspect."""
    for seed in tqdm(range(FIRST_TEST_SEED, FIRST_TEST_SEED + count), unit="scene", mininterval=5):
        yield seed, draw_scene(seed, scene_size(seed), held_out="exclude")


def try_words(segmenter: Segmenter, count: int) -> dict[str, Confusion]:
    """All base labels together, said in four ways.

    They are "names", "synonyms" (any, anew for each scene), and, for the first fifth of the scenes, "shuffled" (every
    name given for another class) and "nonsense" (words that mean nothing).
    """
    confusions = {way: Confusion(len(LABELS)) for way in ("names", "synonyms", "shuffled", "nonsense")}
    for seed, scene in test_scenes(count):
        rng = np.random.default_rng((_WORD_STREAM, seed))
        ways = {"names": NAMES, "synonyms": _synonyms(rng)}
        if seed < FIRST_TEST_SEED + -(-count // 5):
            ways |= {"shuffled": _shuffled(rng), "nonsense": _nonsense(rng)}
        for way, labels in ways.items():
            confusions[way].add(scene.classes, segmenter.segment(scene.image, labels).mask)
    return confusions


def _synonyms(rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(label.synonyms[int(rng.integers(len(label.synonyms)))] for label in LABELS)


def _shuffled(rng: np.random.Generator) -> tuple[str, ...]:
    """The names moved on along a random circle, so that none is where it belongs."""
    circle = rng.permutation(len(NAMES))
    moved = dict(zip(circle.tolist(), np.roll(circle, 1).tolist(), strict=True))
    return tuple(NAMES[moved[index]] for index in range(len(NAMES)))


def _nonsense(rng: np.random.Generator) -> tuple[str, ...]:
    words: set[str] = set()
    while len(words) < len(NAMES):
        words.add("".join(rng.choice(_SYLLABLES, 3).tolist()))
    return tuple(sorted(words))


def try_held_out_pairs(segmenter: Segmenter, count: int) -> tuple[Overlaps, Overlaps]:
    """Coloured things in scenes with a pair that training has never seen: the overlaps of those pairs, and of others.

    The candidates are the base labels, but each coloured thing in sight is named by its colours: "red boat".
    """
    held_out, known = Overlaps(), Overlaps()
    for seed in tqdm(range(_FIRST_HELD_OUT_SEED, _FIRST_HELD_OUT_SEED + count), unit="scene", mininterval=5):
        scene = draw_scene(seed, scene_size(seed), held_out="only")
        pairs = list(pairs_present(scene.classes, scene.colours))
        labels = _with_pairs(pairs)
        mask = segmenter.segment(scene.image, labels).mask
        for colour, name in pairs:
            phrase = f"{colour} {name}"
            overlaps = held_out if (colour, name) in HELD_OUT_PAIRS else known
            overlaps.add(phrase, phrase_mask(phrase, scene.classes, scene.colours), mask == labels.index(phrase))
    return held_out, known


def _with_pairs(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The base names, those of coloured things in sight replaced by their pairs."""
    replaced = {name for _, name in pairs}
    return (*(name for name in NAMES if name not in replaced), *(f"{colour} {name}" for colour, name in pairs))


def try_alone(segmenter: Segmenter, count: int, per_label: int = 15) -> Overlaps:
    """Each label alone with "other", on the first `per_label` test scenes (of `count`) that hold it."""
    overlaps = Overlaps()
    tried: Counter[int] = Counter()
    for _, scene in test_scenes(count):
        for index in np.unique(scene.classes).tolist():
            if tried[index] < per_label:
                tried[index] += 1
                mask = segmenter.segment(scene.image, (NAMES[index], "other")).mask
                overlaps.add(NAMES[index], scene.classes == index, mask == 0)
    return overlaps
