"""The check of a client's labels: they must be distinct texts that the text tower can take, or groups of such."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from lseg_serve.labelsets import (
    Group,
    Label,
    LabelTextError,
    is_visible,
    kind_in_json,
    normalized,
    parts_of,
    without_invisible,
    word_count,
)
from lseg_serve.model.text_encoder import cleaned
from lseg_serve.segmenter.config import Config
from lseg_serve.segmenter.errors import InvalidLabelsError

_MOST_PARTS = 4  # characters that one character can be spelled with; a few rare ones have more


def checked_labels(labels: Sequence[object], config: Config) -> tuple[Label, ...]:
    """`labels` in their order, without what is invisible or a space around them, in Unicode's form NFC.

    Raises:
        InvalidLabelsError: there are none or too many words; or one is not a text, is empty, too long or unprintable,
            or is given twice, in whichever labels; or two labels have one name; or a group has no words, or a group in
            it. Two words are the same if CLIP cleans them to the same text: it ignores case and repeated spaces,
            repairs Unicode and resolves HTML entities.
    """
    if isinstance(labels, str):
        raise InvalidLabelsError(f"labels is the text {labels[:60]!r}; accepted: a list of texts")
    if not isinstance(labels, Sequence):  # a set has no order, and a mask's values are places in the list
        raise InvalidLabelsError(f"labels is of type {type(labels).__name__}; accepted: a list of texts")
    if not labels:
        raise InvalidLabelsError("labels is empty; accepted: 1 or more")
    words = word_count(labels)
    if words > config.max_labels:
        given = f"{words} labels" if words == len(labels) else f"{words} words in {len(labels)} labels"
        raise InvalidLabelsError(f"{given} were given; accepted: up to {config.max_labels}")
    seen: dict[str, str] = {}
    checked = [_checked_label(label, position, config, seen) for position, label in enumerate(labels, start=1)]
    _refuse_equal_names(checked)
    return tuple(checked)


def _checked_label(label: object, position: int, config: Config, seen: dict[str, str]) -> Label:
    """The label at `position`. `seen` has the words of those before it, by their cleaned text."""
    try:
        name, words = parts_of(label)
    except LabelTextError as error:
        raise InvalidLabelsError(f"label {position} {error}") from error
    checked = tuple(_distinct_text(word, position, config, seen) for word in words)
    if isinstance(label, str):
        return checked[0]
    return Group(_checked_text(name, position, config), checked)


def _distinct_text(word: object, position: int, config: Config, seen: dict[str, str]) -> str:
    text = _checked_text(word, position, config)
    cleaned_text = cleaned(text)
    if not cleaned_text:
        raise InvalidLabelsError(f"label {position} ({text!r}) is empty to CLIP; accepted: text")
    if cleaned_text in seen:
        raise InvalidLabelsError(f"label {text!r} is given twice (first as {seen[cleaned_text]!r})")
    seen[cleaned_text] = text
    return text


def _refuse_equal_names(labels: Sequence[Label]) -> None:
    """Refuse a name that two labels have. Words are distinct, so one of the two is a group's own."""
    names: set[str] = set()
    for label in labels:
        name = label.name if isinstance(label, Group) else label
        if cleaned(name) in names:
            raise InvalidLabelsError(f"the name {name!r} is given to two labels; accepted: a name of its own for each")
        names.add(cleaned(name))


def _checked_text(label: object, position: int, config: Config) -> str:
    if not isinstance(label, str):
        raise InvalidLabelsError(f"label {position} is {kind_in_json(label)}; accepted: text")
    text = without_invisible(label).strip()
    if len(text) <= _MOST_PARTS * config.max_label_length:  # to normalize a very long text can take very long
        text = normalized(text)
    if not text:
        raise InvalidLabelsError(f"label {position} is empty; accepted: text")
    if len(text) > config.max_label_length:
        raise InvalidLabelsError(
            f"label {position} ({text[:30]!r}...) has {len(text)} characters; accepted: up to {config.max_label_length}"
        )
    unprintable = next((character for character in text if unicodedata.category(character) in ("Cc", "Cs", "Co")), None)
    if unprintable is not None:
        raise InvalidLabelsError(f"label {position} holds the character {unprintable!a}; accepted: printable text")
    if not is_visible(text):
        raise InvalidLabelsError(f"label {position} ({text[:30]!a}) shows nothing; accepted: visible text")
    return text
