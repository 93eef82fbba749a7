"""The zero-shot protocol: folds, folder layouts, and its two figures by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lseg_serve.evaluation.errors import EvaluationError
from lseg_serve.evaluation.journal import Record
from lseg_serve.evaluation.truth import read_truth
from lseg_serve.evaluation.zero_shot import coco_pairs, drawn, fold_classes, fold_figures, fss_pairs, pascal_pairs
from lseg_serve.labelsets import published_labels


def _save(path: Path, values: list[list[int]] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values or [[0, 0], [0, 0]], dtype=np.uint8)).save(path)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two listed images; the second has its boundary marked 255."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    listing = root / "ImageSets" / "Segmentation" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("2007_000033\n2007_000042\n")
    for name, values in (("2007_000033", [[1, 0], [20, 1]]), ("2007_000042", [[2, 255], [7, 0]])):
        _save(root / "JPEGImages" / f"{name}.jpg")
        _save(root / "SegmentationClass" / f"{name}.png", values)
    return tmp_path


def test_folds_are_those_of_the_papers() -> None:
    pascal, coco = published_labels("pascal"), published_labels("coco")
    assert [pascal[i] for i in fold_classes(20, 1, interleaved=False)] == ["bus", "car", "cat", "chair", "cow"]
    assert [coco[i] for i in fold_classes(80, 2, interleaved=True)][:3] == ["car", "train", "fire hydrant"]
    for interleaved in (False, True):
        folds = [index for fold in range(4) for index in fold_classes(80, fold, interleaved=interleaved)]
        assert sorted(folds) == list(range(80))


def test_pascal_pairs_are_each_image_with_each_class_it_shows(voc: Path) -> None:
    pairs = pascal_pairs(voc, 0)
    assert [pair.sample.name for pair in pairs] == ["2007_000033__01", "2007_000042__02"]
    assert [pair.sample.labels for pair in pairs] == [("others", "aeroplane"), ("others", "bicycle")]
    assert read_truth(pairs[1].sample.truth, pairs[1].sample.rule).tolist() == [[1, -1], [0, 0]]
    assert [pair.category for pair in pascal_pairs(voc, 3)] == ["tvmonitor"]
    augmented = voc / "VOCdevkit" / "VOC2012" / "SegmentationClassAug"
    _save(augmented / "2007_000033.png", [[3]])
    _save(augmented / "2007_000042.png", [[0]])
    assert [pair.category for pair in pascal_pairs(voc, 0)] == ["bird"]


def test_coco_pairs(tmp_path: Path) -> None:
    _save(tmp_path / "COCO2014" / "val2014" / "COCO_val2014_000000000042.jpg")
    _save(tmp_path / "COCO2014" / "annotations" / "val2014" / "COCO_val2014_000000000042.png", [[0, 2], [6, 1]])
    assert [pair.category for pair in coco_pairs(tmp_path, 1)] == ["bicycle", "bus"]
    with pytest.raises(EvaluationError, match="no such folder; --data is or holds COCO2014"):
        coco_pairs(tmp_path / "COCO2014" / "val2014", 1)


def test_fss_pairs_leave_out_the_example_of_each_class(tmp_path: Path) -> None:
    for name in ("ab_wheel", "zucchini"):
        for number in (1, 2, 10):
            _save(tmp_path / name / f"{number}.jpg")
            _save(tmp_path / name / f"{number}.png", [[0, 255], [127, 128]])
    pairs = fss_pairs(tmp_path, None)
    assert [pair.sample.name for pair in pairs] == ["ab_wheel/10", "ab_wheel/2", "zucchini/10", "zucchini/2"]
    assert read_truth(pairs[0].sample.truth, pairs[0].sample.rule).tolist() == [[0, 1], [0, 1]]
    assert len(fss_pairs(tmp_path, ["zucchini"])) == 2
    with pytest.raises(EvaluationError, match="absent: no such folder, but the class is in the list"):
        fss_pairs(tmp_path, ["absent"])


def test_figures_by_hand(voc: Path) -> None:
    """Class IoU takes each class by itself; FB-IoU takes all pixels together, of background and of foreground."""
    pairs = pascal_pairs(voc, 0)
    records = {
        "2007_000033__01": Record("2007_000033__01", 1.0, ((0, 0, 60), (0, 1, 10), (1, 0, 10), (1, 1, 20))),
        "2007_000042__02": Record("2007_000042__02", 1.0, ((0, 0, 80), (0, 1, 5), (1, 1, 15))),
    }
    figures = fold_figures(pairs, records)
    assert figures.class_iou == pytest.approx({"aeroplane": 20 / 40, "bicycle": 15 / 20})
    assert figures.miou == pytest.approx((0.5 + 0.75) / 2)
    assert figures.fb_iou == pytest.approx((140 / 165 + 35 / 60) / 2)


def test_a_draw_is_even_over_classes_and_repeatable(tmp_path: Path) -> None:
    for name, count in (("rare", 2), ("common", 30)):
        for number in range(count + 1):
            _save(tmp_path / name / f"{number}.jpg")
            _save(tmp_path / name / f"{number}.png")
    pairs = fss_pairs(tmp_path, None)
    chosen = drawn(pairs, 6, seed=1)
    assert sorted(pair.category for pair in chosen) == ["common"] * 4 + ["rare"] * 2
    assert chosen == drawn(pairs, 6, seed=1) != drawn(pairs, 6, seed=2)
