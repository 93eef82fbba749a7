"""How people write labels as text: what separates two labels, and which characters of a label count.

Requests, label files and the client's command line use these functions, so that one rule holds everywhere. This module
imports nothing heavy, because the client does not need torch.
"""

from __future__ import annotations

import json
import re
import unicodedata

# Commas of several scripts: ASCII, full-width, ideographic (also half-width), Arabic, small forms, Ethiopic, Mongolian.
_COMMAS = ",\uff0c\u3001\uff64\u060c\ufe50\ufe51\u1363\u1802"
# Between the words of one label, ASCII and full-width.
_BARS = "|\uff5c"
# Separators of other programs. They occur inside labels, too, so a text is never split into labels at them.
_FOREIGN_SEPARATORS = ";\uff1b\u061b\t" + _BARS
_HTML_ENTITY = re.compile(r"&#?\w{1,32};")  # CLIP resolves these, so their semicolon is no separator
# Far above what the greatest number of labels needs, and small enough to be split at once.
_MOST_CHARACTERS = 1_000_000

# Characters that take no room and have no meaning in a label: soft hyphen, marks of the writing direction, zero-width
# space, word joiner and the like, byte order mark, annotation and musical controls.
_INVISIBLE = dict.fromkeys(
    [
        *(0x00AD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF, 0xE0001),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFFF9, 0xFFFC),
        *range(0x1D173, 0x1D17B),
    ]
)
# Joiner and non-joiner (ZWJ, ZWNJ) change how Persian, Indic scripts and emoji look. Elsewhere they are left-overs.
_JOINER_RUN = re.compile("([\u200c\u200d])[\u200c\u200d]+")
_STRAY_JOINER = re.compile("(?<![\u0300-\U0010ffff])[\u200c\u200d]|[\u200c\u200d](?![\u0300-\U0010ffff])")
# Characters that show nothing by themselves, but belong to some words: joiners, fillers of Hangul, the blank Braille
# cell, variation selectors, the tags of flags.
_BLANK = dict.fromkeys(
    [
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x200C, 0x200D, 0x2800, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0020, 0xE01F0),
    ]
)


class LabelTextError(ValueError):
    """A text of which it is not clear which labels it holds. The message says what is accepted."""


def split_labels(text: str) -> list[object]:
    """The labels in `text`: a JSON list, or names separated by commas or by line ends.

    A JSON list is taken as it is, so only there may a label hold a comma or a bar. Its items may be of any type; the
    caller checks them. Commas of other scripts count as commas. Empty lines do not count, but what is empty between
    two commas is an empty label. Lines that end with a comma are one list of commas, wrapped. A label of words with
    bars between them ("car | automobile") is a group, and becomes the list of its words.

    Raises:
        LabelTextError: the text begins with a bracket and is no JSON list; it has both lines and commas inside of
            them; it is one label that holds the separator of another program (; or | or a tab); it is too long.
    """
    if len(text) > _MOST_CHARACTERS:
        raise LabelTextError(f"labels has {len(text)} characters; accepted: up to {_MOST_CHARACTERS}")
    text = without_invisible(text).strip()
    if text.startswith("["):
        return _json_list(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if all(line[-1] in _COMMAS for line in lines[:-1]):
        names = re.split(f"[{_COMMAS}]", "".join(lines)) if lines else []
    else:
        names = [line[:-1] if line[-1] in _COMMAS else line for line in lines]
        _refuse_commas(names)
    if len(names) == 1:
        _refuse_foreign_separators(names[0])
    return [_grouped(name) for name in names]


def without_invisible(text: str) -> str:
    """`text` without byte order marks, zero-width spaces and the like.

    Joiners (ZWJ, ZWNJ) stay inside of words of scripts that need them, such as Persian, and inside of emoji.
    """
    if text.isascii():
        return text
    return _STRAY_JOINER.sub("", _JOINER_RUN.sub(r"\1", text.translate(_INVISIBLE)))


def normalized(label: str) -> str:
    """`label` without what is invisible or a space around it, in Unicode's form NFC.

    Two spellings of one word, such as an accent that is a character of its own, become one.
    """
    return unicodedata.normalize("NFC", without_invisible(label).strip())


def is_visible(label: str) -> bool:
    """Whether `label` shows anything at all."""
    return bool(label.translate(_BLANK).strip())


def kind_in_json(value: object) -> str:
    """What JSON calls `value`, for messages: "a number (7)", "an object", "null"."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"a number ({str(value)[:60]})"
    kinds: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
    return kinds.get(type(value)) or f"a {type(value).__name__}"


def _grouped(name: str) -> str | list[str]:
    """`name`, or its words where bars divide it."""
    words = [word.strip() for word in re.split(f"[{_BARS}]", name)]
    return name if len(words) == 1 else words


def _json_list(text: str) -> list[object]:
    try:
        items: list[object] = json.loads(text)  # what begins with a bracket and is JSON is a list
    except (ValueError, RecursionError) as error:
        raise LabelTextError(f"labels begins with '[' but is not a JSON list: {error}") from error
    return items


def _refuse_commas(lines: list[str]) -> None:
    """Refuse lines that hold commas: they may be parts of names, as in ADE20K's "building, edifice", or separators."""
    mixed = next((line for line in lines if re.search(f"[{_COMMAS}]", line)), None)
    if mixed is not None:
        raise LabelTextError(
            f"labels has several lines, and one of them, {mixed[:60]!r}, holds a comma; accepted: one label a line, or "
            "labels separated by commas, or a JSON list, where labels may hold commas"
        )


def _refuse_foreign_separators(name: str) -> None:
    found = next((sign for sign in _HTML_ENTITY.sub("", name) if sign in _FOREIGN_SEPARATORS), None)
    if found is not None:
        raise LabelTextError(
            f"labels is one label, {name[:60]!r}, that holds {found!r}; accepted: labels separated by commas or line "
            "ends, or a JSON list, where a label may hold any of these and a list is one label of several words"
        )
