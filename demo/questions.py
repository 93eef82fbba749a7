"""What training asks about a scene: candidate labels in words, and which of them is right at every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lseg_serve.demo.views import OUTSIDE
from lseg_serve.demo.vocabulary import COLOUR_INDEX, COLOURS, HELD_OUT_PAIRS, LABELS, NO_COLOUR, THING, hypernyms, words

Pixels = npt.NDArray[np.uint8]

IGNORED = 255
REST_WORDS = ("other", "others", "background")

# How often a question takes each turn; tuned so that every way of asking is met thousands of times.
_SYNONYM, _HYPERNYM, _COLOUR_SPLIT, _ONE_COLOUR, _EVERY_LABEL = 0.5, 0.3, 0.45, 0.12, 0.3
_ONLY_SOME, _ALONE, _UNASKED, _COLOURS_ALONE = 0.3, 0.4, 0.1, 0.1


@dataclass(frozen=True)
class Question:
    """Candidates, and the index of the right one at every pixel: uint8 [h, w], `IGNORED` where none is right."""

    candidates: tuple[str, ...]
    answers: Pixels


class _Draft:
    """A question in the making: phrases with the pixels they are right for, each pixel to the last that claims it."""

    def __init__(self, rng: np.random.Generator, classes: Pixels, colours: Pixels, *, name_colours: bool) -> None:
        self.rng, self.classes, self.colours, self._name_colours = rng, classes, colours, name_colours
        self.candidates: list[str] = []
        self.answers = np.full(classes.shape, IGNORED, dtype=np.uint8)

    def claim(self, phrase: str, mask: npt.NDArray[np.bool_] | None = None) -> None:
        """Add a candidate, right for the pixels of `mask` [h, w] (None: for no pixel)."""
        if mask is not None:
            self.answers[mask] = len(self.candidates)
        self.candidates.append(phrase)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def chance_of_colours(self, probability: float) -> bool:
        """As `chance`, for what names colours; never where none may be named."""
        return self._name_colours and self.chance(probability)

    def shuffled(self) -> Question:
        """The question with its candidates in any order, since their order means nothing."""
        order = self.rng.permutation(len(self.candidates))
        table = np.full(256, IGNORED, dtype=np.uint8)
        table[order] = np.arange(len(order), dtype=np.uint8)
        return Question(tuple(self.candidates[index] for index in order), table[self.answers])


def ask(
    rng: np.random.Generator,
    classes: Pixels,
    colours: Pixels,
    *,
    name_colours: bool = True,
) -> Question:
    """A question about a scene of truth `classes` and `colours` (uint8 [h, w]); colours in it only if `name_colours`.

    Mostly every class in sight is asked for among a few or all of the others; else only some are, and the rest is
    "other" or, now and then, left out; or only colours are, whatever carries them. A pixel has exactly one right
    answer: a colour word wins over the bare noun.
    """
    draft = _Draft(rng, classes, colours, name_colours=name_colours)
    present = [int(index) for index in np.unique(classes) if index != OUTSIDE]
    if draft.chance_of_colours(_COLOURS_ALONE):
        _ask_colours(draft, present)
    elif draft.chance(_ONLY_SOME):
        _ask_some(draft, present)
    else:
        _ask_all(draft, present)
    draft.answers[classes == OUTSIDE] = IGNORED
    return draft.shuffled()


def _ask_all(draft: _Draft, present: list[int]) -> None:
    covered = _add_hypernym(draft, present) if draft.chance(_HYPERNYM) else frozenset()
    for index in present:
        if index not in covered:
            _add_class(draft, index)
    absent = [index for index in range(len(LABELS)) if index not in present and index not in covered]
    count = len(absent) if draft.chance(_EVERY_LABEL) else int(draft.rng.integers(len(absent) + 1))
    _add_distractors(draft, absent, count)
    if len(draft.candidates) < 2:
        _add_distractors(draft, absent, 1)


def _ask_some(draft: _Draft, present: list[int]) -> None:
    """Some of the classes, sometimes one that is not there at all; the rest is one label, or not asked for."""
    rng = draft.rng
    if not draft.chance(_UNASKED):
        draft.claim(REST_WORDS[_rest_word(rng)], np.ones(draft.classes.shape, dtype=np.bool_))
    covered = _add_hypernym(draft, present) if draft.chance(_HYPERNYM / 2) else frozenset()
    left = [index for index in present if index not in covered]
    count = min(len(left), 1 if draft.chance(_ALONE) else int(rng.integers(1, 6)))
    for index in rng.permutation(left)[:count].tolist():
        _add_class(draft, index)
    absent = [index for index in range(len(LABELS)) if index not in present and index not in covered]
    if draft.chance(1 - _ALONE):
        _add_distractors(draft, absent, int(rng.integers(0, 4)))
    if len(draft.candidates) < 2:
        _add_distractors(draft, absent, 2)


def _ask_colours(draft: _Draft, present: list[int]) -> None:
    """Coloured things by their colour alone ("red thing"), whatever they are; the rest by name, or as one label.

    A colour is thereby learnt apart from the things that carry it.
    """
    draft.claim(REST_WORDS[_rest_word(draft.rng)], np.ones(draft.classes.shape, dtype=np.bool_))
    if draft.chance(0.5):
        for index in present:
            if not LABELS[index].coloured:
                draft.claim(_noun(draft, index), draft.classes == index)
    few = draft.rng.random()
    for colour, value in COLOUR_INDEX.items():
        mask = draft.colours == value
        if mask.any() or draft.chance(few):
            draft.claim(f"{colour} {THING}", mask)
    if len(draft.candidates) < 2:
        draft.claim(f"{COLOURS[int(draft.rng.integers(len(COLOURS)))]} {THING}")


def _rest_word(rng: np.random.Generator) -> int:
    """A place in `REST_WORDS`: mostly "other", which is what people type."""
    return int(rng.choice(len(REST_WORDS), p=(0.7, 0.1, 0.2)))


def _add_hypernym(draft: _Draft, present: list[int]) -> frozenset[int]:
    """One hypernym in place of all its classes, now and then with the colours in sight; returns these classes."""
    chosen = [word for word in hypernyms() if words()[word] & set(present)]
    if not chosen:
        return frozenset()
    word = chosen[int(draft.rng.integers(len(chosen)))]
    mask = np.isin(draft.classes, list(words()[word]))
    draft.claim(word, mask)
    if draft.chance_of_colours(_COLOUR_SPLIT):
        for value in np.unique(draft.colours[mask]).tolist():
            if value != NO_COLOUR:
                draft.claim(f"{COLOURS[value]} {word}", mask & (draft.colours == value))
    return words()[word]


def _add_class(draft: _Draft, index: int) -> None:
    """A class by its name or a synonym, or its things by their colours, or one colour against the bare noun."""
    mask = draft.classes == index
    noun = _noun(draft, index)
    if LABELS[index].coloured and draft.chance_of_colours(_COLOUR_SPLIT):
        _add_colours(draft, index, noun, mask)
        return
    draft.claim(noun, mask)
    if LABELS[index].coloured and draft.chance_of_colours(_ONE_COLOUR):
        colour = _named_colours(index)[int(draft.rng.integers(len(_named_colours(index))))]
        draft.claim(f"{colour} {noun}", mask & (draft.colours == COLOUR_INDEX[colour]))


def _add_colours(draft: _Draft, index: int, noun: str, mask: npt.NDArray[np.bool_]) -> None:
    """Every colour of the class that is in sight, and some that are not; uncoloured parts have no answer."""
    seen = {COLOURS[value] for value in np.unique(draft.colours[mask]).tolist() if value != NO_COLOUR}
    few = draft.rng.random() * 0.6
    for colour in _named_colours(index):
        if colour in seen or draft.chance(few):
            draft.claim(f"{colour} {noun}", mask & (draft.colours == COLOUR_INDEX[colour]))


def _named_colours(index: int) -> list[str]:
    label = LABELS[index]
    return [colour for colour in label.colours if (colour, label.name) not in HELD_OUT_PAIRS]


def _add_distractors(draft: _Draft, absent: list[int], count: int) -> None:
    for index in draft.rng.permutation(absent)[:count].tolist():
        noun = _noun(draft, index)
        if LABELS[index].coloured and draft.chance_of_colours(_COLOUR_SPLIT / 2):
            colours = _named_colours(index)
            noun = f"{colours[int(draft.rng.integers(len(colours)))]} {noun}"
        draft.claim(noun)


def _noun(draft: _Draft, index: int) -> str:
    label = LABELS[index]
    if not draft.chance(_SYNONYM):
        return label.name
    return label.synonyms[int(draft.rng.integers(len(label.synonyms)))]
