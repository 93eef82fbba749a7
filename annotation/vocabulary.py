"""What the model is asked for, and which label of the annotation tool each word belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.labelsets import LabelTextError, split_labels
from lseg_serve.labelsets.text import kind_in_json, normalized


@dataclass(frozen=True)
class Vocabulary:
    """Distinct words, in the order in which the endpoint is asked for them, each with its label.

    A word without a label is asked for so that its pixels go to no other word; it makes no region.
    """

    words: tuple[str, ...]
    labels: tuple[str | None, ...]

    @classmethod
    def of(cls, words_by_label: Mapping[str, Sequence[str]], background: Sequence[str] = ()) -> Vocabulary:
        """The words of each label, and those of the background that no label has.

        Raises:
            AnnotationError: there is no word, or one belongs to two labels.
        """
        label_by_word: dict[str, str | None] = {}
        for label, words in words_by_label.items():
            for word in words:
                before = label_by_word.setdefault(word, label)
                if before != label:
                    raise AnnotationError(
                        f"the word {word!r} belongs to two labels, {before!r} and {label!r}; accepted: one label a word"
                    )
        if not label_by_word:
            raise AnnotationError("there is no label with a word that the model could be asked for")
        for word in background:
            label_by_word.setdefault(word, None)
        return cls(tuple(label_by_word), tuple(label_by_word.values()))


def words_in(text: str, what: str) -> tuple[str, ...]:
    """The distinct words in a text that separates them as the field `labels` of a request does.

    Args:
        text: separated by commas or line ends, or a JSON list; empty: no words.
        what: the text's name, for messages.

    Raises:
        AnnotationError: it is not clear which words it holds.
    """
    try:
        found = split_labels(text) if text.strip() else []
    except LabelTextError as error:
        raise AnnotationError(f"{what}: {error}") from error
    return checked_words(found, what)


def checked_words(found: Iterable[object], what: str) -> tuple[str, ...]:
    """The distinct words in a list, without what is invisible around them.

    Raises:
        AnnotationError: one of them is no text, or empty.
    """
    words: dict[str, None] = {}
    for item in found:
        if not isinstance(item, str):
            raise AnnotationError(f"{what}: {kind_in_json(item)} is no word; accepted: texts")
        word = normalized(item)
        if not word:
            raise AnnotationError(f"{what}: a word is empty")
        words[word] = None
    return tuple(words)
