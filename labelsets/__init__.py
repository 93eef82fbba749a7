"""Lists of labels: the published sets that lie here as data, and files of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lseg_serve.labelsets.groups import (
    Group,
    Label,
    LabelInput,
    as_json,
    as_text,
    name_of,
    parts_of,
    word_count,
    words_of,
)
from lseg_serve.labelsets.templates import (
    MOST_TEMPLATES,
    TemplateError,
    checked_templates,
    filled,
    read_templates,
    split_templates,
)
from lseg_serve.labelsets.text import (
    LabelTextError,
    is_visible,
    kind_in_json,
    normalized,
    split_labels,
    without_invisible,
)

__all__ = [
    "MOST_TEMPLATES",
    "NAMES",
    "Group",
    "Label",
    "LabelFileError",
    "LabelInput",
    "LabelTextError",
    "TemplateError",
    "as_json",
    "as_text",
    "checked_templates",
    "filled",
    "is_visible",
    "kind_in_json",
    "label_of",
    "name_of",
    "normalized",
    "parse_labels",
    "parts_of",
    "published_labels",
    "read_label_file",
    "read_labels",
    "read_templates",
    "split_labels",
    "split_templates",
    "without_invisible",
    "word_count",
    "words_of",
]

_FOLDER = Path(__file__).parent
NAMES = ("ade20k", "ade20k-published", "pascal", "pascal-published", "coco", "coco-published")


class LabelFileError(ValueError):
    """There is no such label set or file, or what the file holds is no list of labels."""


def published_labels(name: str) -> tuple[str, ...]:
    """The labels of one of `NAMES`, in the order of their classes.

    They are ADE20K's 150, Pascal VOC's 20 and COCO's 80 things (not COCO-Stuff, which has more). The plain sets have
    clean names. The `-published` ones have them as lang-seg feeds them to the network, which its figures rest on:
    ADE20K's are cut at their first space, so that 14 lose a word ("traffic light" becomes "traffic") and classes 59
    and 131 are both "screen"; Pascal's and COCO's lose their spaces ("pottedplant").

    Raises:
        KeyError: there is no such set.
    """
    if name not in NAMES:
        raise KeyError(name)
    family, _, published = name.partition("-")
    clean = (_FOLDER / f"{family}.txt").read_text(encoding="utf-8").splitlines()
    if not published:
        return tuple(clean)
    return tuple(label.split()[0] if family == "ade20k" else label.replace(" ", "") for label in clean)


def read_labels(name: str) -> tuple[Label, ...]:
    """The labels of a published set, by its name, or of a file, in their order and without spaces around them.

    A file holds what a request may: one label a line, or labels separated by commas, or a JSON list. Groups are words
    with bars between them, or in JSON what `groups` says.

    Raises:
        LabelFileError: there is no such set or file, or it holds no list of labels.
    """
    return published_labels(name) if name in NAMES else parse_labels(read_label_file(name), name)


def read_label_file(name: str) -> str:
    """The text of a label file, without a byte order mark.

    Raises:
        LabelFileError: it cannot be read.
    """
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name that no file can have
        raise LabelFileError(f"labels {name!r}: {error}; accepted: {', '.join(NAMES)}, or a file") from error


def parse_labels(text: str, name: str) -> tuple[Label, ...]:
    """The labels in the text of a file called `name`; see `read_labels`.

    Raises:
        LabelFileError: the text is no list of labels.
    """
    try:
        labels = [label_of(item) for item in split_labels(text)]
    except LabelTextError as error:
        raise LabelFileError(f"labels {name!r}: {error}") from error
    if not labels:
        raise LabelFileError(f"labels {name!r}: holds an empty label or none at all")
    return tuple(labels)


def label_of(item: object) -> Label:
    """The label that an item of a list stands for, its texts normalized.

    Raises:
        LabelTextError: it holds something else than texts, or one that is empty.
    """
    try:
        name, words = parts_of(item)
    except LabelTextError as error:
        raise LabelTextError(f"a label {error}") from error
    texts = [_text_of(text) for text in (name, *words)]
    return Group(texts[0], tuple(texts[1:])) if isinstance(item, Group | Mapping | list | tuple) else texts[0]


def _text_of(value: object) -> str:
    if not isinstance(value, str):
        raise LabelTextError(f"holds {kind_in_json(value)}; accepted: texts, and groups of texts")
    text = normalized(value)
    if not is_visible(text):
        raise LabelTextError("holds an empty label or none at all")
    return text
