"""Text from elsewhere, such as a label in a legend, made fit for a terminal."""

from __future__ import annotations

import unicodedata

# Control characters and lone surrogates, line and paragraph separators, invisible format characters.
_ESCAPED = {"Cc", "Cs", "Zl", "Zp", "Cf"}
_JOINERS = "\u200c\u200d"  # format characters that belong to words and emoji


def printable(text: str) -> str:
    r"""`text` with each character that a terminal would obey or hide written as its escape, such as \x1b."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _ESCAPED and character not in _JOINERS
        else character
        for character in text
    )
