"""Data sets and journals: what is found, and what is said where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lseg_serve.evaluation.__main__ import main
from lseg_serve.evaluation.errors import EvaluationError
from lseg_serve.evaluation.journal import FILE, Journal, Record
from lseg_serve.evaluation.samples import ade20k_samples, folder_samples, read_labels
from lseg_serve.evaluation.truth import TruthRule, read_truth
from lseg_serve.labelsets import published_labels
from tests.support.ade20k import make_ade20k

RULE = TruthRule.offset(2)


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(path)


def test_ade20k_is_found_from_either_folder(tmp_path: Path) -> None:
    root = make_ade20k(tmp_path, {"validation": 2})
    labels = published_labels("ade20k")
    samples = ade20k_samples(tmp_path, labels, "validation")
    assert [sample.name for sample in samples] == ["ADE_val_00000001", "ADE_val_00000002"]
    assert [s.truth for s in samples] == [s.truth for s in ade20k_samples(root, labels, "validation")]
    values = np.asarray(Image.open(samples[0].truth)).astype(int)
    np.testing.assert_array_equal(read_truth(samples[0].truth, samples[0].rule), values - 1)
    assert samples[0].sent_labels == labels


def test_labels_that_are_twice_the_same_are_not_sent(tmp_path: Path) -> None:
    make_ade20k(tmp_path, {"validation": 1})
    (sample,) = ade20k_samples(tmp_path, published_labels("ade20k-published"), "validation")
    assert sample.labels.count("screen") == 2
    assert sample.sent_labels is None


def test_folders_are_matched_by_place_and_suffix(tmp_path: Path) -> None:
    """As Cityscapes has them."""
    _picture(tmp_path / "images" / "bonn" / "a_1_leftImg8bit.png")
    _picture(tmp_path / "truth" / "bonn" / "a_1_gtFine_labelIds.png")
    (sample,) = folder_samples(
        tmp_path / "images", tmp_path / "truth", RULE, ["a", "b"], "_leftImg8bit", "_gtFine_labelIds"
    )
    assert sample.name == "bonn/a_1"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    images, truth = tmp_path / "images", tmp_path / "truth"
    with pytest.raises(EvaluationError, match="images: no such folder"):
        folder_samples(images, truth, RULE, ["a"])
    _picture(images / "x.jpg")
    truth.mkdir()
    with pytest.raises(EvaluationError, match=r"x\.jpg: has no ground truth; looked for .*x\.png"):
        folder_samples(images, truth, RULE, ["a"])
    _picture(truth / "x.png")
    _picture(images / "x.bmp")
    with pytest.raises(EvaluationError, match="two images differ only in their file type"):
        folder_samples(images, truth, RULE, ["a"])
    with pytest.raises(EvaluationError, match="holds no image"):
        folder_samples(truth, truth, RULE, ["a"], image_suffix="_other")


def test_label_files(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text("road\n\ntraffic light\n日本\n", encoding="utf-8")
    assert read_labels(str(path)).labels == ("road", "traffic light", "日本")
    path.write_text('["a, b", "c"]')
    assert read_labels(str(path)).labels == ("a, b", "c")
    path.write_text('{"7": "road", "8": "sidewalk", "9": "road"}')
    assert read_labels(str(path)).labels == ("road", "sidewalk")
    path.write_text('{"7": "cafe\u0301"}', encoding="utf-8-sig")
    assert read_labels(str(path)).labels == ("caf\u00e9",)
    path.write_text('{"7": "road", "8": "sidewalk", "9": "road"}')
    assert read_labels(str(path)).values == {7: 0, 8: 1, 9: 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "empty label or none"), ("[1", "Expecting"), ('{"x": "a"}', "invalid literal"), ('{"-1": "a"}', "outside")],
)
def test_label_files_that_say_nothing(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text(text)
    with pytest.raises(EvaluationError, match=message):
        read_labels(str(tmp_path / "labels"))


def test_a_journal_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    settings = {"mode": "fast", "labels": ("a", "b")}
    journal = Journal(tmp_path, settings)
    journal.add(Record("one", 2.5, ((0, 0, 7), (1, 2, 3))))
    journal.add(Record("two", error="503: busy", status=503))
    with (tmp_path / FILE).open("a") as file:
        file.write('{"name": "three", "mill')
    again = Journal(tmp_path, settings)
    assert again.records == journal.records
    assert [again.done(name) for name in ("one", "two", "three")] == [True, False, False]
    again.add(Record("two", 4.0, ((0, 0, 1),)))
    assert Journal(tmp_path, settings).done("two")


def test_a_journal_of_another_evaluation_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path, {"mode": "fast"})
    with pytest.raises(EvaluationError, match="mode is 'fast' there and 'accurate' now; choose another --output"):
        Journal(tmp_path, {"mode": "accurate"})
    (tmp_path / FILE).write_text(json.dumps({"mode": "fast"}) + "\n7\n")
    with pytest.raises(EvaluationError, match="is damaged"):
        Journal(tmp_path, {"mode": "fast"})


def test_a_server_that_is_not_there_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_ade20k(tmp_path, {"validation": 1})
    command = ["ade20k", "--data", str(tmp_path), "--url", "http://127.0.0.1:9", "--output", str(tmp_path / "out")]
    assert main(command) == 4
    assert "no server responds at http://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize("ignore", ["x", "70000", "5-x"])
def test_ignored_values_must_be_numbers(ignore: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["folder", "--images", str(tmp_path), "--truth", str(tmp_path), "--labels", "pascal", "--ignore", ignore]
    assert main(command) == 3
    assert "accepted: numbers and ranges, such as 255,0-6" in capsys.readouterr().err
