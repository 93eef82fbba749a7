"""Regions and outlines that annotation tools get, made of masks."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from lseg_serve.annotation.label_studio.labelling import read_labelling
from lseg_serve.annotation.label_studio.regions import prediction_of
from lseg_serve.annotation.outlines import rings
from lseg_serve.annotation.vocabulary import Entry, Vocabulary
from lseg_serve.client import LegendEntry, Mask, Region, Report

MASK = np.zeros((10, 20), np.uint8)
MASK[2:5, 3:9] = 1
MASK[9, 19] = 2
BRUSH = '<View><Image name="i" value="$i"/><BrushLabels name="t" toName="i"><Label value="a"/></BrushLabels></View>'
SPLIT = BRUSH.replace("BrushLabels", "Labels").replace("<Labels", '<Brush name="b" toName="i"/><Labels', 1)


def _report(mask: npt.NDArray[np.uint8], *names: str) -> Report:
    areas = [int(np.count_nonzero(mask == index)) for index in range(len(names))]
    regions = [
        Region(
            index=index, name=name, color="#000000", area=area, share=area / mask.size,
            mean_score=0.5 + index / 10 if area else None, label_studio=[index],
        )
        for index, (name, area) in enumerate(zip(names, areas, strict=True))
    ]  # fmt: skip
    legend = tuple(LegendEntry(index, name, "#000000") for index, name in enumerate(names))
    return Report.model_validate(
        {
            "width": mask.shape[1], "height": mask.shape[0], "model": {"name": "lseg", "version": "1.0"},
            "mode": "fast", "device": "cpu", "labels": regions, "unlabelled": {"area": 0, "share": 0},
            "mask": Mask(b"", mask, legend),
        }
    )  # fmt: skip


WORDS = ("ground", "box", "dot", "absent")
LABELS = ("earth", "thing", "thing", "absent")
ASKED = Vocabulary(tuple(Entry(label, (word,)) for label, word in zip(LABELS, WORDS, strict=True)))


def test_regions_come_by_area_with_label_score_and_the_word_that_found_them() -> None:
    found = prediction_of(_report(MASK, *WORDS), read_labelling(BRUSH), ASKED, 0, 1)
    assert [one["value"]["brushlabels"] for one in found["result"]] == [["earth"], ["thing"], ["thing"]]
    assert [one["value"]["rle"] for one in found["result"]] == [[0], [1], [2]]
    assert [one["score"] for one in found["result"]] == [0.5, 0.6, 0.7]
    assert [one["meta"]["text"] for one in found["result"]] == [["ground"], ["box"], ["dot"]]
    assert len({one["id"] for one in found["result"]}) == 3
    assert found["score"] == pytest.approx((181 * 0.5 + 18 * 0.6 + 0.7) / 200)
    first = found["result"][0]
    assert (first["from_name"], first["to_name"], first["type"]) == ("t", "i", "brushlabels")
    assert (first["original_width"], first["original_height"], first["image_rotation"]) == (20, 10, 0)


def test_small_and_background_words_make_no_region() -> None:
    asked = Vocabulary((Entry(None, ("ground",)), *ASKED.entries[1:]))
    found = prediction_of(_report(MASK, *WORDS), read_labelling(BRUSH), asked, 2 / 200, 1)
    assert [one["value"]["rle"] for one in found["result"]] == [[1]]
    nothing = prediction_of(_report(MASK, *WORDS), read_labelling(BRUSH), asked, 0.5, 1)
    assert nothing == {"result": [], "score": 0.0}


def test_a_shape_with_a_control_of_its_own_has_an_entry_for_each_of_both() -> None:
    found = prediction_of(
        _report(MASK, "earth"), read_labelling(SPLIT), Vocabulary((Entry("earth", ("earth",)),)), 0, 1
    )
    shape, label = found["result"]
    assert shape["id"] == label["id"]
    assert (shape["type"], shape["from_name"], "labels" in shape["value"]) == ("brush", "b", False)
    assert (label["type"], label["from_name"], label["value"]["labels"]) == ("labels", "t", ["earth"])
    assert shape["value"]["rle"] == label["value"]["rle"]
    assert "meta" not in shape


def test_polygons_are_in_percent_along_the_edges_of_pixels() -> None:
    labelling = read_labelling(BRUSH.replace("BrushLabels", "PolygonLabels"))
    found = prediction_of(_report(MASK, *WORDS), labelling, ASKED, 0, 1)
    box = next(one["value"] for one in found["result"] if one["meta"]["text"] == ["box"])
    assert box["polygonlabels"] == ["thing"]
    assert sorted(map(tuple, box["points"])) == [(15, 20), (15, 50), (45, 20), (45, 50)]


def _drawn(found: list[npt.NDArray[np.float64]], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels whose centres lie in one of the rings, by OpenCV's test of a point."""
    drawn = np.zeros(shape, bool)
    for row, column in np.ndindex(shape):
        inside = (cv2.pointPolygonTest(ring.astype(np.float32), (column + 0.5, row + 0.5), False) for ring in found)
        drawn[row, column] = any(value > 0 for value in inside)
    return drawn


@pytest.mark.parametrize("seed", range(5))
def test_rings_without_tolerance_hold_exactly_the_pixels_of_pieces_and_of_their_holes(seed: int) -> None:
    pixels = np.random.default_rng(seed).random((12, 15)) < 0.3
    background = np.pad(~pixels, 1, constant_values=True).astype(np.uint8)
    _, pieces = cv2.connectedComponents(background, connectivity=4)
    filled = (pieces != pieces[0, 0])[1:-1, 1:-1]  # what cannot be reached from outside: pieces with their holes
    assert np.array_equal(_drawn(rings(pixels, 0), pixels.shape), filled)


def test_simplified_rings_stay_within_the_tolerance() -> None:
    rows, columns = np.mgrid[0:200, 0:200]
    disc = (rows - 90) ** 2 + (columns - 110) ** 2 < 70**2
    exact, simple = rings(disc, 0)[0], rings(disc, 1)[0]
    assert len(simple) < len(exact) / 5
    farthest = max(abs(cv2.pointPolygonTest(simple.astype(np.float32), tuple(map(float, one)), True)) for one in exact)
    assert farthest <= 1.0 + 1e-3
    assert rings(np.zeros((4, 4), bool), 1) == []
    speck = np.zeros((4, 4), bool)
    speck[3, 3] = True
    assert rings(speck, 100)[0].shape == (4, 2)  # is left as it is where it would vanish
