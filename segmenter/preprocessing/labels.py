"""The check of a client's labels: they must be distinct texts that the text tower can take."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from lseg_serve.labelsets import is_visible, kind_in_json, normalized, without_invisible
from lseg_serve.model.text_encoder import cleaned
from lseg_serve.segmenter.config import Config
from lseg_serve.segmenter.errors import InvalidLabelsError

_MOST_PARTS = 4  # characters that one character can be spelled with; a few rare ones have more


def checked_labels(labels: Sequence[object], config: Config) -> tuple[str, ...]:
    """`labels` in their order, without what is invisible or a space around them, in Unicode's form NFC.

    Raises:
        InvalidLabelsError: there are none or too many; or one is not a text, is empty, too long or unprintable, or is
            given twice. Two labels are the same if CLIP cleans them to the same text: it ignores case and repeated
            spaces, repairs Unicode and resolves HTML entities.
    """
    if isinstance(labels, str):
        raise InvalidLabelsError(f"labels is the text {labels[:60]!r}; accepted: a list of texts")
    if not isinstance(labels, Sequence):  # a set has no order, and a mask's values are places in the list
        raise InvalidLabelsError(f"labels is of type {type(labels).__name__}; accepted: a list of texts")
    if not labels:
        raise InvalidLabelsError("labels is empty; accepted: 1 or more")
    if len(labels) > config.max_labels:
        raise InvalidLabelsError(f"{len(labels)} labels were given; accepted: up to {config.max_labels}")
    checked: dict[str, str] = {}
    for position, label in enumerate(labels, start=1):
        text = _checked_text(label, position, config)
        cleaned_text = cleaned(text)
        if not cleaned_text:
            raise InvalidLabelsError(f"label {position} ({text!r}) is empty to CLIP; accepted: text")
        if cleaned_text in checked:
            raise InvalidLabelsError(f"label {text!r} is given twice (first as {checked[cleaned_text]!r})")
        checked[cleaned_text] = text
    return tuple(checked.values())


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
