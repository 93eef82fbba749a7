"""Label files: one reader for the export and the evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from lseg_serve.labelsets import NAMES, LabelFileError, published_labels, read_labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat\n\n traffic light \n日本", ("cat", "traffic light", "日本")),
        ("cat\r\ndog\r\n", ("cat", "dog")),
        ("cat, dog", ("cat", "dog")),
        ("\u732b\u3001\u72ac", ("\u732b", "\u72ac")),
        ("\ufeffcat\r\ndog\u200b", ("cat", "dog")),
        ("cafe\u0301\ndog", ("caf\u00e9", "dog")),
        ('["cat", " a, b "]', ("cat", "a, b")),
        ('\n[\n"cat"\n]\n', ("cat",)),
    ],
)
def test_a_file_has_one_label_a_line_or_is_a_json_list(text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(text.encode())
    assert read_labels(str(path)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n \n", "holds an empty label or none at all"),
        ("[]", "holds an empty label or none at all"),
        ("cat\n\u3164", "holds an empty label or none at all"),
        ("cat;dog", "that holds ';'; accepted"),
        ("sky\nbuilding, edifice", "several lines.* accepted: one label a line"),
        ('["cat", ""]', "holds an empty label or none at all"),
        ('["cat", 5]', r"holds a number \(5\); accepted: texts"),
        ('["cat"', "is not a JSON list: Expecting"),
    ],
)
def test_a_file_of_anything_else_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelFileError, match=message):
        read_labels(str(path))


def test_a_name_that_is_neither_set_nor_file_is_told_what_there_is() -> None:
    with pytest.raises(LabelFileError, match=f"'coco-stuff'.*accepted: {', '.join(NAMES)}, or a file"):
        read_labels("coco-stuff")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(LabelFileError, match="codec can't decode"):
        read_labels(str(tmp_path / "labels.txt"))


def test_published_sets_are_read_by_their_names() -> None:
    assert {name: len(read_labels(name)) for name in NAMES} == {
        "ade20k": 150,
        "ade20k-published": 150,
        "pascal": 20,
        "pascal-published": 20,
        "coco": 80,
        "coco-published": 80,
    }
    assert read_labels("coco")[9] == "traffic light"
    assert published_labels("coco-published")[9] == "trafficlight"
