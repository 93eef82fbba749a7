"""Groups: labels of several words, such as synonyms or the kinds of one thing, which a mask shows as one.

A plain label is a text. In JSON a group is a list of words, whose first is its name, or an object with a name and its
words: `["car", "automobile"]`, `{"name": "vehicle", "any": ["car", "truck"]}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lseg_serve.labelsets.text import LabelTextError, kind_in_json

_ACCEPTED = 'a text, a list of words, or {"name": text, "any": list of words}'


@dataclass(frozen=True)
class Group:
    """A label of one word or more: its score at a pixel is the largest of its words'."""

    name: str
    words: tuple[str, ...]


Label: TypeAlias = str | Group
# A label as a caller may write it.
LabelInput: TypeAlias = str | Sequence[str] | Mapping[str, Any] | Group


def name_of(label: Label) -> str:
    """What a legend calls `label`."""
    return label.name if isinstance(label, Group) else label


def words_of(label: Label) -> tuple[str, ...]:
    """The words that the network compares pixels with for `label`."""
    return label.words if isinstance(label, Group) else (label,)


def as_json(label: Label) -> Any:
    """`label` as JSON holds it: a text, a list of words, or an object."""
    if isinstance(label, str):
        return label
    return list(label.words) if label.name == label.words[0] else {"name": label.name, "any": list(label.words)}


def as_text(label: Label) -> str:
    """`label` on one line for people: its words with bars between them, after its name where that is another."""
    words = " | ".join(words_of(label))
    return words if name_of(label) == words_of(label)[0] else f"{name_of(label)}: {words}"


def parts_of(item: object) -> tuple[object, list[object]]:
    """The name and the words of one item of a list of labels. Neither is checked: they may be of any type.

    Raises:
        LabelTextError: a group without words, a group within a group, or an object of other keys.
    """
    if isinstance(item, Group):
        item = {"name": item.name, "any": item.words}
    if isinstance(item, Mapping):
        if set(item) != {"name", "any"}:
            keys = ", ".join(map(str, item))[:60] or "none"
            raise LabelTextError(f"is an object with the keys: {keys}; accepted: {_ACCEPTED}")
        if not isinstance(item["any"], list | tuple):
            raise LabelTextError(f"has {kind_in_json(item['any'])} as any; accepted: a list of words")
        return item["name"], _words(item["any"])
    if isinstance(item, list | tuple):
        words = _words(item)
        return words[0], words
    return item, [item]


def _words(items: Sequence[object]) -> list[object]:
    if not items:
        raise LabelTextError("is a group without words; accepted: 1 or more")
    inner = next((item for item in items if not isinstance(item, str)), None)
    if inner is not None or None in items:
        raise LabelTextError(f"is a group that holds {kind_in_json(inner)}; accepted: words, each a text")
    return list(items)


def word_count(items: Iterable[object]) -> int:
    """How many words the `items` of a list of labels have in all, without a check of them."""
    count = 0
    for item in items:
        words = item.words if isinstance(item, Group) else item.get("any") if isinstance(item, Mapping) else item
        count += len(words) if isinstance(words, list | tuple) else 1
    return count
