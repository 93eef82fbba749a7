"""Labels: any language's text, trimmed and distinct; everything else is refused with a message that names it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lseg_serve.model.text_encoder import tokenize
from lseg_serve.segmenter import Config
from lseg_serve.segmenter.errors import InvalidLabelsError
from lseg_serve.segmenter.preprocessing.labels import checked_labels

CONFIG = Config()


def _refused(labels: Sequence[object], match: str, config: Config = CONFIG) -> None:
    with pytest.raises(InvalidLabelsError, match=match) as caught:
        checked_labels(labels, config)
    assert (caught.value.status, caught.value.type, caught.value.field) == (400, "invalid_labels", "labels")


def test_labels_keep_their_order_and_their_case() -> None:
    assert checked_labels(["Sky", "a cat", "Traffic Light"], CONFIG) == ("Sky", "a cat", "Traffic Light")


def test_labels_are_trimmed() -> None:
    assert checked_labels([" cat ", "\tdog\n", "\u3000鳥\u00a0"], CONFIG) == ("cat", "dog", "鳥")


@pytest.mark.parametrize(
    "label",
    [
        "日本",
        "кошка",
        "قطة",
        "नमस्ते",
        "γάτα",
        "한국어",
        "👩‍👩‍👧",
        "🇯🇵",
        "l'été",
        '"quoted"',
        "100 %",
        "a;b=c",
        "<b>&amp;",
        "﷽",
        "Z͑ͫ̓",
    ],
)
def test_any_languages_text_is_accepted(label: str) -> None:
    assert checked_labels([label], CONFIG) == (label,)


def test_a_character_newer_than_this_python_is_text() -> None:
    newest = "\N{LATIN SMALL LETTER A}\U0001cc00\U0001fae8"  # Unicode 15 and 16; which Python knows depends on its age
    assert checked_labels([newest], CONFIG) == (newest,)


def test_no_labels_are_refused() -> None:
    _refused([], "labels is empty; accepted: 1 or more")


def test_as_many_labels_as_the_mask_has_indices_are_accepted() -> None:
    labels = tuple(f"label {number}" for number in range(255))
    assert checked_labels(labels, CONFIG) == labels
    _refused([*labels, "one more"], "256 labels.*accepted: up to 255")


def test_the_limits_are_the_configurations() -> None:
    config = Config(max_labels=2, max_label_length=3)
    assert checked_labels(["cat", "dog"], config) == ("cat", "dog")
    _refused(["a", "b", "c"], "3 labels.*up to 2", config)
    _refused(["a", "bird"], r"label 2 \('bird'.*4 characters; accepted: up to 3", config)


def test_length_counts_characters_without_the_spaces_around() -> None:
    assert checked_labels(["  " + "語" * 200 + "  "], CONFIG) == ("語" * 200,)
    _refused(["語" * 201], "label 1 .* has 201 characters; accepted: up to 200")


def test_a_message_about_a_long_label_stays_short() -> None:
    with pytest.raises(InvalidLabelsError) as caught:
        checked_labels(["x" * 1_000_000], CONFIG)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("label", ["", " ", "\t\n", "\u3000"])
def test_an_empty_label_is_refused_by_its_position(label: str) -> None:
    _refused(["cat", label, "dog"], "label 2 is empty")


@pytest.mark.parametrize(
    ("label", "match"),
    [
        (7, r"label 2 is a number \(7\)"),
        (None, "label 2 is null"),
        (True, "label 2 is true"),
        (1.5, r"label 2 is a number \(1\.5\)"),
        (b"dog", "label 2 is a bytes"),
    ],
)
def test_what_is_no_text_is_refused(label: object, match: str) -> None:
    _refused(["cat", label], match + "; accepted: text")


@pytest.mark.parametrize(
    "character",
    ["\x00", "\x07", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\ud800", "\ue000"],
    ids=["nul", "bell", "newline", "return", "tab", "escape", "delete", "next line", "lone surrogate", "private use"],
)
def test_a_character_that_cannot_be_printed_is_refused(character: str) -> None:
    with pytest.raises(InvalidLabelsError, match=r"label 1 holds the character .*accepted: printable text") as caught:
        checked_labels([f"a{character}b"], CONFIG)
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("second", ["Traffic light", "traffic light", " Traffic light ", "TRAFFIC   LIGHT"])
def test_a_label_given_twice_is_refused(second: str) -> None:
    _refused(["Traffic light", "cat", second], r"given twice \(first as 'Traffic light'\)")


def test_labels_that_clip_tells_apart_are_not_the_same() -> None:
    labels = ("Straße", "Strasse")
    first, second = tokenize(list(labels))
    assert first.tolist() != second.tolist()
    assert checked_labels(labels, CONFIG) == labels


def test_labels_are_the_same_word_however_it_is_spelled_in_unicode() -> None:
    assert checked_labels(["e\u0301te\u0301"], CONFIG) == ("\u00e9t\u00e9",)
    _refused(["\u00e9t\u00e9", "e\u0301te\u0301"], "given twice")


def test_invisible_characters_make_no_other_label() -> None:
    assert checked_labels(["\ufeffcat", "d\u200bog\u2060"], CONFIG) == ("cat", "dog")
    _refused(["cat", "cat\u200b"], r"label 'cat' is given twice")


@pytest.mark.parametrize("label", ["\u3164", "\u2800", "\u115f\u1160"], ids=ascii)
def test_a_label_that_shows_nothing_is_refused(label: str) -> None:
    _refused(["cat", label], "label 2 .* shows nothing; accepted: visible text")


def test_a_label_of_zero_width_characters_is_empty() -> None:
    _refused(["cat", "\u200b\u200d\ufeff"], "label 2 is empty")


def test_length_counts_composed_characters_and_a_long_run_of_marks_is_refused_at_once() -> None:
    assert checked_labels(["e\u0301" * 200], CONFIG) == ("\u00e9" * 200,)
    _refused(["a" + "\u0301\u0316" * 500_000], "has 1000001 characters")
