"""Lists of labels: the published sets that lie here as data, and files of one's own."""

from __future__ import annotations

import json
from pathlib import Path

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


def read_labels(name: str) -> tuple[str, ...]:
    """The labels of a published set, by its name, or of a file, in their order and without spaces around them.

    A file holds one label a line, where empty lines do not count, or a JSON list of texts.

    Raises:
        LabelFileError: there is no such set or file, or it holds no list of labels.
    """
    return published_labels(name) if name in NAMES else parse_labels(read_label_file(name), name)


def read_label_file(name: str) -> str:
    """The text of a label file.

    Raises:
        LabelFileError: it cannot be read.
    """
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name that no file can have
        raise LabelFileError(f"labels {name!r}: {error}; accepted: {', '.join(NAMES)}, or a file") from error


def parse_labels(text: str, name: str) -> tuple[str, ...]:
    """The labels in the text of a file called `name`; see `read_labels`.

    Raises:
        LabelFileError: the text is no list of labels.
    """
    if not text.lstrip().startswith("["):
        labels = [line.strip() for line in text.split("\n") if line.strip()]
    else:
        labels = [_label_of(item, name) for item in _parse_list(text, name)]
    if not labels or not all(labels):
        raise LabelFileError(f"labels {name!r}: holds an empty label or none at all")
    return tuple(labels)


def _parse_list(text: str, name: str) -> list[object]:
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise LabelFileError(
            f"labels {name!r}: {error}; accepted: one label a line, or a JSON list of texts"
        ) from error
    assert isinstance(items, list)  # it starts with a bracket
    return items


def _label_of(item: object, name: str) -> str:
    if not isinstance(item, str):
        raise LabelFileError(f"labels {name!r}: holds {item!r}, a {type(item).__name__}; accepted: texts")
    return item.strip()
