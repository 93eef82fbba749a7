"""Figures of an evaluation, against ones worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lseg_serve.evaluation.errors import EvaluationError
from lseg_serve.evaluation.metrics import confusion_matrix, measure
from lseg_serve.evaluation.truth import IGNORED, TruthRule, read_truth
from lseg_serve.labelsets import NAMES, published_labels


def test_15_of_150_labels_found_perfectly() -> None:
    """Three images with five labels each: 15 of 150 have IoU 1, and the official mean counts the others as 0."""
    confusion = np.zeros((150, 151), dtype=np.int64)
    for image in range(3):
        truth = np.repeat(np.arange(5) * 10 + image, 40).reshape(10, 20).astype(np.int32)
        confusion += confusion_matrix(truth, truth.astype(np.uint8), 150)
    metrics = measure(confusion)
    assert f"{metrics.miou_all:.4f}" == "0.1000"
    assert metrics.miou_present == 1.0
    assert metrics.pixel_accuracy == 1.0
    assert metrics.mean_accuracy == 1.0
    assert metrics.frequency_weighted_iou == 1.0
    assert metrics.present.sum() == 15


def test_a_small_case_by_hand() -> None:
    """Four labels; two pixels are ignored, one is unlabelled, label 3 is found where it never is."""
    truth = np.array([[0, 0, 0, IGNORED], [1, 1, 1, 1], [2, 2, IGNORED, 0]], dtype=np.int32)
    mask = np.array([[0, 0, 1, 1], [1, 1, 1, 3], [2, 255, 0, 0]], dtype=np.uint8)
    confusion = confusion_matrix(truth, mask, 4)
    assert confusion.tolist() == [[3, 1, 0, 0, 0], [0, 3, 0, 1, 0], [0, 0, 1, 0, 1], [0, 0, 0, 0, 0]]
    metrics = measure(confusion)
    assert metrics.iou.tolist() == pytest.approx([3 / 4, 3 / 5, 1 / 2, 0])
    assert metrics.accuracy.tolist() == pytest.approx([3 / 4, 3 / 4, 1 / 2, 0])
    assert metrics.precision.tolist() == pytest.approx([1, 3 / 4, 1, 0])
    assert metrics.pixel_accuracy == pytest.approx(7 / 10)
    assert metrics.miou_all == pytest.approx((0.75 + 0.6 + 0.5 + 0) / 4)
    assert metrics.miou_present == pytest.approx((0.75 + 0.6 + 0.5) / 3)
    assert metrics.mean_accuracy == pytest.approx(2 / 3)
    assert metrics.mean_accuracy_all == pytest.approx(1 / 2)
    assert metrics.frequency_weighted_iou == pytest.approx((4 * 0.75 + 4 * 0.6 + 2 * 0.5) / 10)


def test_nothing_at_all_gives_zeros() -> None:
    metrics = measure(np.zeros((2, 3), dtype=np.int64))
    assert (metrics.miou_all, metrics.miou_present, metrics.pixel_accuracy) == (0, 0, 0)


def _written(path: Path, values: list[list[int]], mode: str) -> Path:
    if mode == "I;16":
        Image.fromarray(np.array(values, dtype=np.uint16)).save(path)
    else:
        picture = Image.fromarray(np.array(values, dtype=np.uint8))
        (picture.convert(mode) if mode != "P" else _paletted(picture)).save(path)
    return path


def _paletted(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    picture.putpalette([7] * 768)
    return picture


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_truth_is_read_by_its_values(mode: str, tmp_path: Path) -> None:
    path = _written(tmp_path / "truth.png", [[0, 1, 2], [255, 3, 1]], mode)
    assert read_truth(path, TruthRule.offset(3, offset=1)).tolist() == [[-1, 0, 1], [-1, 2, 0]]
    assert read_truth(path, TruthRule.mapping({0: 1, 1: 0, 2: 0, 3: 1})).tolist() == [[1, 0, 0], [-1, 1, 0]]
    assert read_truth(path, TruthRule.one_against_others(3)).tolist() == [[0, 0, 0], [-1, 1, 0]]
    with pytest.raises(EvaluationError, match=r"truth\.png: holds the value 3, which is neither"):
        read_truth(path, TruthRule.offset(3))


def test_coloured_truth_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = _written(tmp_path / "truth.png", [[0, 1]], "RGB")
    with pytest.raises(EvaluationError, match="pixels of mode RGB; accepted: one channel"):
        read_truth(path, TruthRule.offset(3))
    assert read_truth(path, TruthRule.white_on_black()).tolist() == [[0, 0]]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(EvaluationError, match="cannot be read as an image"):
        read_truth(path, TruthRule.offset(3))


def test_published_label_sets() -> None:
    assert [len(published_labels(name)) for name in NAMES] == [150, 150, 20, 20, 80, 80]
    assert published_labels("pascal-published")[15] == "pottedplant"
    assert [published_labels("coco-published")[i] for i in (9, 54, 77)] == ["trafficlight", "donut", "teddybear"]
