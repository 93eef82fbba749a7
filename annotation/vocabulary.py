"""What the model is asked for, and which label of the annotation tool each word belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.labelsets import LabelTextError, split_labels
from lseg_serve.labelsets.groups import parts_of
from lseg_serve.labelsets.text import kind_in_json, normalized


@dataclass(frozen=True)
class Entry:
    """One label of a request: a word, or a group of words that make one region."""

    label: str | None  # of the region; None: asked for so that its pixels go to no other word, and makes no region
    words: tuple[str, ...]

    @property
    def note(self) -> str:
        """The words, where they are not the label itself."""
        return "" if self.words == (self.label,) else ", ".join(self.words)


@dataclass(frozen=True)
class Vocabulary:
    """Entries of distinct words, in the order in which the endpoint is asked for them."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry], background: Sequence[str] = ()) -> Vocabulary:
        """The entries, each word once, and the words of the background that none of them has.

        Raises:
            AnnotationError: there is no word, or one belongs to two labels.
        """
        label_by_word: dict[str, str | None] = {}
        kept = []
        for entry in entries:
            own = []
            for word in dict.fromkeys(entry.words):
                if word not in label_by_word:
                    own.append(word)
                elif label_by_word[word] != entry.label:
                    raise AnnotationError(
                        f"the word {word!r} belongs to two labels, {label_by_word[word]!r} and {entry.label!r}; "
                        "accepted: one label a word"
                    )
                label_by_word[word] = entry.label
            if own:
                kept.append(Entry(entry.label, tuple(own)))
        if not kept:
            raise AnnotationError("there is no label with a word that the model could be asked for")
        rest = [Entry(None, (word,)) for word in dict.fromkeys(background) if word not in label_by_word]
        return cls((*kept, *rest))

    @property
    def request(self) -> list[str | list[str]]:
        """The labels of a request: texts and groups."""
        return [entry.words[0] if len(entry.words) == 1 else list(entry.words) for entry in self.entries]


def words_in(text: str, what: str) -> tuple[str, ...]:
    """The distinct words in a text that separates them as the field `labels` of a request does.

    Args:
        text: separated by commas or line ends, or a JSON list; empty: no words.
        what: the text's name, for messages.

    Raises:
        AnnotationError: it is not clear which words it holds.
    """
    return tuple(dict.fromkeys(word for entry in entries_in(text, what) for word in entry.words))


def entries_in(text: str, what: str) -> list[Entry]:
    """The labels in a text as the field `labels` of a request has them, groups too, each under its own name.

    Raises:
        AnnotationError: it is not clear which labels it holds.
    """
    entries = []
    try:
        for item in split_labels(text) if text.strip() else []:
            name, words = parts_of(item)
            entries.append(Entry(checked_words([name], what)[0], checked_words(words, what)))
    except LabelTextError as error:
        raise AnnotationError(f"{what}: {error}") from error
    return entries


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
