"""Lists of labels: the published sets that lie here as data, and files of one's own."""

from __future__ import annotations

from pathlib import Path

from lseg_serve.labelsets.text import (
    LabelTextError,
    is_visible,
    kind_in_json,
    normalized,
    split_labels,
    without_invisible,
)

__all__ = [
    "NAMES",
    "LabelFileError",
    "LabelTextError",
    "is_visible",
    "kind_in_json",
    "normalized",
    "parse_labels",
    "published_labels",
    "read_label_file",
    "read_labels",
    "split_labels",
    "without_invisible",
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


def read_labels(name: str) -> tuple[str, ...]:
    """The labels of a published set, by its name, or of a file, in their order and without spaces around them.

    A file holds what a request may: one label a line, or labels separated by commas, or a JSON list of texts.

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


def parse_labels(text: str, name: str) -> tuple[str, ...]:
    """The labels in the text of a file called `name`; see `read_labels`.

    Raises:
        LabelFileError: the text is no list of labels.
    """
    try:
        labels = [_label_of(item, name) for item in split_labels(text)]
    except LabelTextError as error:
        raise LabelFileError(f"labels {name!r}: {error}") from error
    if not labels or not all(map(is_visible, labels)):
        raise LabelFileError(f"labels {name!r}: holds an empty label or none at all")
    return tuple(labels)


def _label_of(item: object, name: str) -> str:
    if not isinstance(item, str):
        raise LabelFileError(f"labels {name!r}: holds {kind_in_json(item)}; accepted: texts")
    return normalized(item)
