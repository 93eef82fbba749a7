"""How labels are told apart in a text, and which characters count: one rule for requests, files and commands."""

from __future__ import annotations

import unicodedata

import pytest

from lseg_serve.labelsets import LabelTextError, is_visible, kind_in_json, normalized, split_labels, without_invisible

BOM = "\ufeff"
ZWSP = "\u200b"
ZWNJ = "\u200c"
ZWJ = "\u200d"


@pytest.mark.parametrize(
    "text",
    [
        "sky,grass,house",
        "sky\uff0cgrass\uff0chouse",
        "sky\u060cgrass\u060chouse",
        "sky\u3001grass\u3001house",
        "sky\uff64grass\ufe50house",
        "sky\uff0cgrass,house",
        "sky\ngrass\nhouse",
        "sky\r\ngrass\r\nhouse\r\n",
        "sky\rgrass\rhouse",
        "sky\n\n\ngrass\n  \nhouse",
        "sky\u2028grass\u2028house",
        "sky,\ngrass,\nhouse",
        "sky, \r\n grass,house\n",
        "sky,\ngrass\nhouse",
        '["sky", "grass", "house"]',
        f'{BOM}["sky", "grass", "house"]',
        f"{BOM}sky,grass,house{ZWSP}",
    ],
    ids=ascii,
)
def test_every_way_to_separate_labels_gives_the_same(text: str) -> None:
    assert [str(label).strip() for label in split_labels(text)] == ["sky", "grass", "house"]


@pytest.mark.parametrize("text", ["", "  ", "\n", BOM, "[]"], ids=ascii)
def test_a_text_of_nothing_has_no_labels(text: str) -> None:
    assert split_labels(text) == []


def test_what_is_empty_between_commas_is_an_empty_label() -> None:
    assert split_labels("cat,,dog,") == ["cat", "", "dog", ""]


@pytest.mark.parametrize("item", ["a, b", "a;b", "a|b", "\u732b\u3001\u72ac", "a\uff0cb"])
def test_a_json_list_is_never_split(item: str) -> None:
    assert split_labels(f'["{item}", "c"]') == [item, "c"]


@pytest.mark.parametrize("sign", [";", "|", "\t", "\uff1b", "\u061b", "\uff5c"], ids=ascii)
def test_a_lone_label_that_holds_another_programs_separator_is_refused(sign: str) -> None:
    with pytest.raises(LabelTextError, match=r"is one label.* that holds .*; accepted: labels separated by commas"):
        split_labels(f"sky{sign}grass{sign}house")
    more = ["sky", "blue"] if sign in "|\uff5c" else f"sky{sign}blue"
    assert split_labels(f"sky{sign}blue,grass") == [more, "grass"]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("car | automobile,person", [["car", "automobile"], "person"]),
        ("person\ncar|automobile|red truck\n", ["person", ["car", "automobile", "red truck"]]),
        ("\u8eca\uff5c\u81ea\u52d5\u8eca\u3001\u4eba", [["\u8eca", "\u81ea\u52d5\u8eca"], "\u4eba"]),
        ("a||b, |c", [["a", "", "b"], ["", "c"]]),  # an empty word is refused where labels are checked
    ],
)
def test_bars_divide_the_words_of_a_label(text: str, labels: list[object]) -> None:
    assert split_labels(text) == labels


def test_the_semicolon_of_an_html_entity_is_no_separator() -> None:
    assert split_labels("rock &amp; sand") == ["rock &amp; sand"]


def test_lines_with_commas_could_be_read_in_two_ways_and_are_refused() -> None:
    with pytest.raises(LabelTextError, match="several lines, and one of them, 'building, edifice', holds a comma"):
        split_labels("sky\nbuilding, edifice\ntree")


def test_a_text_too_long_to_be_labels_is_refused_at_once() -> None:
    with pytest.raises(LabelTextError, match="2000000 characters; accepted: up to 1000000"):
        split_labels("," * 2_000_000)


@pytest.mark.parametrize(
    "text", [BOM, ZWSP, "\u2060", "\u00ad", "\u200e", "\u202e", "\u2066", "\u061c", "\U000e0001"], ids=ascii
)
def test_invisible_characters_are_taken_out_wherever_they_are(text: str) -> None:
    assert normalized(f"{text}c{text}at{text} ") == "cat"
    assert normalized(text) == ""


@pytest.mark.parametrize(
    "label",
    [
        f"\u0645\u06cc{ZWNJ}\u062e\u0648\u0627\u0647\u0645",
        f"\u0915\u094d{ZWJ}\u0937",
        f"\U0001f469{ZWJ}\U0001f469{ZWJ}\U0001f467",
        f"\U0001f3f3\ufe0f{ZWJ}\U0001f308",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "\u0600\u0661",
    ],
    ids=["Persian", "Devanagari", "family", "rainbow flag", "flag of England", "Arabic number sign"],
)
def test_characters_that_scripts_and_emoji_need_stay(label: str) -> None:
    assert normalized(label) == label
    assert is_visible(label)


@pytest.mark.parametrize("joiner", [ZWJ, ZWNJ])
def test_joiners_that_join_nothing_are_taken_out(joiner: str) -> None:
    assert without_invisible(f"{joiner}c{joiner}at{joiner}") == "cat"
    assert without_invisible(joiner * 100_000) == joiner[:0]


@pytest.mark.parametrize("word", ["caf\u00e9", "\u00c5ngstr\u00f6m", "\ud55c\uad6d\uc5b4", "\u304c", "Vi\u1ec7t"])
def test_two_spellings_of_one_word_become_one(word: str) -> None:
    decomposed = unicodedata.normalize("NFD", word)
    assert decomposed != word
    assert normalized(decomposed) == normalized(word) == word


@pytest.mark.parametrize("label", ["", " ", "\u3164", "\u115f\u1160", "\u2800", "\ufe0f", "\u3000", ZWJ], ids=ascii)
def test_a_label_of_nothing_visible_is_told(label: str) -> None:
    assert not is_visible(label)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (7, "a number (7)"),
        (1.5, "a number (1.5)"),
        ("a", "a string"),
        ([1], "a list"),
        ({}, "an object"),
    ],
)
def test_types_have_the_names_of_json(value: object, words: str) -> None:
    assert kind_in_json(value) == words
