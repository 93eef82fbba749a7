"""Values of files and of people in error messages: short, and nothing in them that a terminal would obey."""

from __future__ import annotations

import reprlib

_LONGEST = 100  # characters of a text
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = 4
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = _LONGEST


def printable(text: str) -> str:
    """`text` without control characters, cut to 100 characters."""
    shown = text[: _LONGEST + 1]
    shown = shown if shown.isprintable() else ascii(shown)[1:-1]
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "..."


def shortened(value: object) -> str:
    """`value` as Python writes it, with dots for what is long, many or deep: a few lists can hold millions."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return f"<{type(value).__name__}>"
