"""Groups of words: a label of several words is, in every format, the merged mask of its words."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from lseg_serve.export.label_sets import load_label_set
from lseg_serve.handler.formats import FORMAT_BY_NAME, GEOMETRIES
from lseg_serve.handler.formats.content import Content
from lseg_serve.handler.pipeline import respond
from lseg_serve.handler.responses import Response, ServerInfo
from lseg_serve.handler.watching.records import Record
from lseg_serve.labelsets import Group, LabelFileError, as_json, as_text, read_labels
from lseg_serve.model import LSeg
from lseg_serve.segmenter import Config, EncodedLabels, InvalidLabelsError, Job, Segmentation, Segmenter, checked_labels
from lseg_serve.segmenter.config import StaticImageSizeParams
from tests.support.pictures import Pixels, encoded, noise

CONFIG = Config(
    device="cpu",
    static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1), (2, 3)), short_sizes=(64,)),
)
SERVER = ServerInfo("lseg", "1.0", "cpu", 50_000_000, timings=False)
GROUPS: list[Any] = [
    "person",
    ["car", "automobile", "red truck"],
    {"name": "plants", "any": ["tree", "grass", "flower", "hedge"]},
    ["sky"],
    "other",
]
NAMES = ("person", "car", "plants", "sky", "other")
WORDS = ["person", "car", "automobile", "red truck", "tree", "grass", "flower", "hedge", "sky", "other"]
LABEL_OF_WORD = [0, 1, 1, 1, 2, 2, 2, 2, 3, 4]
IMAGES = 50


@pytest.fixture(scope="module")
def segmenter(small_net: LSeg) -> Segmenter:
    return Segmenter(small_net, config=CONFIG, label_set=("wall", "floor"))


def _picture(number: int) -> Pixels:
    """Noise gives many small regions, smooth fields large ones; sizes above and below the bucket's."""
    height, width = 24 + 7 * (number % 19), 24 + 11 * (number % 13)
    if number % 2:
        return noise(height, width, number)
    smooth = cv2.resize(noise(5, 6, number), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, dtype=np.uint8)


def _merged(words: Segmentation) -> Segmentation:
    """The merge by its definition, pixel by pixel and word by word, from what each word got as a label of its own."""
    mask = np.full_like(words.mask, 255)
    for word, label in enumerate(LABEL_OF_WORD):
        mask[words.mask == word] = label
    means: npt.NDArray[np.float64] | None = None
    if words.mean_scores is not None:
        means = np.zeros(len(NAMES))
        for label in range(len(NAMES)):
            own = [word for word, its in enumerate(LABEL_OF_WORD) if its == label]
            areas = np.array([np.count_nonzero(words.mask == word) for word in own])
            if areas.sum():
                means[label] = (words.mean_scores[own] * areas).sum() / areas.sum()
    scores = None
    if words.score_map is not None:
        scores = torch.stack(
            [
                torch.stack([words.score_map[word] for word, its in enumerate(LABEL_OF_WORD) if its == label]).amax(0)
                for label in range(len(NAMES))
            ]
        )
    return replace(words, labels=NAMES, mask=mask, mean_scores=means, score_map=scores)


def _answered(segmenter: Segmenter, image: Pixels, labels: Sequence[Any], **fields: str) -> Response:
    row = {"image": encoded(image), "labels": json.dumps(labels).encode()}
    row |= {name: value.encode() for name, value in fields.items()}
    (answer,) = respond(segmenter, [row], [{}], SERVER)
    assert answer.status == 200, answer.body
    return answer


@pytest.mark.parametrize("threshold", [0.0, 0.16])
@pytest.mark.parametrize("name", FORMAT_BY_NAME)
def test_a_group_is_the_merged_mask_of_its_words_byte_for_byte(
    segmenter: Segmenter, name: str, threshold: float
) -> None:
    text, merges, unlabelled = segmenter.encode_labels(WORDS), 0, 0
    for number in range(IMAGES):
        image = _picture(number)
        needs = FORMAT_BY_NAME[name]
        job = Job(image, text, threshold, with_scores=needs.mean_scores, with_score_map=needs.score_map)
        words = segmenter.segment_batch([job])[0]
        expected = _merged(words)
        merges += len(np.unique(words.mask)) - len(np.unique(expected.mask))
        unlabelled += int((expected.mask == 255).sum())
        for geometry in GEOMETRIES if name == "json" and number < 3 else ("rle",):
            content = Content(image, expected, SERVER, geometry=geometry)
            answer = _answered(segmenter, image, GROUPS, format=name, threshold=str(threshold), geometry=geometry)
            assert answer.body == FORMAT_BY_NAME[name].encode(content), (number, geometry)
    assert merges > IMAGES  # the words of the groups do occur side by side
    assert (unlabelled > 0) == (threshold > 0)


def test_in_accurate_mode_as_well(small_net: LSeg) -> None:
    accurate = {"crop_size": 64, "base_size": 72, "stride": 48, "scales": [0.5, 1.25]}
    segmenter = Segmenter(small_net, config=CONFIG.replaced(accurate=accurate))
    text = segmenter.encode_labels(WORDS)
    for number in (2, 5):
        image = _picture(number)
        for threshold in (0.0, 0.16):
            job = Job(image, text, threshold, with_scores=True, mode="accurate")
            expected = _merged(segmenter.segment_batch([job])[0])
            found = segmenter.segment_batch([replace(job, labels=GROUPS)])[0]
            assert np.array_equal(found.mask, expected.mask)
            assert torch.equal(found.scores, expected.scores)
            assert found.mean_scores is not None
            assert expected.mean_scores is not None
            np.testing.assert_allclose(found.mean_scores, expected.mean_scores, rtol=1e-12)
    scores = segmenter.accurate_scores(image, GROUPS)
    assert torch.equal(scores[1], segmenter.accurate_scores(image, WORDS)[1:4].amax(0))


def test_legend_cutouts_and_record_count_groups(segmenter: Segmenter) -> None:
    image = _picture(4)
    with Image.open(io.BytesIO(_answered(segmenter, image, GROUPS).body)) as mask:
        mask.load()
        assert [entry["name"] for entry in json.loads(mask.info["legend"])] == list(NAMES)
    with zipfile.ZipFile(io.BytesIO(_answered(segmenter, image, GROUPS, format="zip").body)) as archive:
        assert {name[12:-4] for name in archive.namelist() if name.startswith("cutouts/")} <= set(NAMES)
    record = Record()
    respond(segmenter, [{"image": encoded(image), "labels": json.dumps(GROUPS).encode()}], [{}], SERVER, [record])
    assert record.labels == 5


def test_the_order_of_words_in_a_group_changes_the_name_alone(segmenter: Segmenter) -> None:
    image = _picture(2)
    turned = segmenter.segment(image, [["automobile", "red truck", "car"], "person"])
    assert turned.labels == ("automobile", "person")
    assert np.array_equal(turned.mask, segmenter.segment(image, [["car", "automobile", "red truck"], "person"]).mask)


def test_texts_with_bars_lists_and_objects_say_the_same(segmenter: Segmenter) -> None:
    image = _picture(6)
    row = {"image": encoded(image), "format": b"json"}  # with mean scores, which all words count in
    bodies = []
    for labels in (
        "person, car | automobile, other",
        "person\ncar|automobile\nother",
        '["person", ["car", "automobile"], "other"]',
        '["person", {"name": "car", "any": ["car", "automobile"]}, "other"]',
    ):
        (answer,) = respond(segmenter, [{**row, "labels": labels.encode()}], [{}], SERVER)
        bodies.append(answer.body)
    assert len(set(bodies)) == 1
    (other,) = respond(segmenter, [{**row, "labels": b"person, car, other"}], [{}], SERVER)
    assert other.body != bodies[0]


BAD: dict[str, tuple[list[Any], str]] = {
    "an empty list": (["cat", []], "label 2 is a group without words"),
    "an object without words": (["cat", {"name": "dogs", "any": []}], "label 2 is a group without words"),
    "an empty word": (["cat", ["dog", " "]], "label 2 is empty"),
    "a nested list": (["cat", ["dog", ["puppy"]]], r"label 2 is a group that holds a list; accepted: words"),
    "a nested object": (
        ["cat", {"name": "dogs", "any": [{"name": "x", "any": ["y"]}]}],
        "label 2 is a group that holds an object",
    ),
    "a number among words": (["cat", ["dog", 7]], r"label 2 is a group that holds a number \(7\)"),
    "null among words": (["cat", ["dog", None]], "label 2 is a group that holds null"),
    "words that are a text": (["cat", {"name": "dogs", "any": "dog"}], "label 2 has a string as any"),
    "an object without any": (["cat", {"name": "dog"}], "label 2 is an object with the keys: name; accepted: a text"),
    "another key": (["cat", {"name": "d", "any": ["dog"], "color": "red"}], "keys: name, any, color"),
    "a name that is a number": (["cat", {"name": 7, "any": ["dog"]}], r"label 2 is a number \(7\)"),
    "an empty name": (["cat", {"name": "", "any": ["dog"]}], "label 2 is empty"),
    "a word in two groups": ([["cat", "kitten"], ["dog", "Kitten"]], r"label 'Kitten' is given twice \(first as 'kit"),
    "a word and a label": ([["cat", "kitten"], "kitten"], "label 'kitten' is given twice"),
    "a word twice in a group": ([["cat", "CAT"], "dog"], "label 'CAT' is given twice"),
    "a name that is a label": (["cat", {"name": "Cat", "any": ["dog"]}], "the name 'Cat' is given to two labels"),
    "two equal names": (
        [{"name": "a", "any": ["cat"]}, {"name": "a", "any": ["dog"]}],
        "the name 'a' is given to two labels",
    ),
    "a word that is too long": ([["cat", "x" * 201]], "label 1 .* has 201 characters"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_group_is_refused_with_400(segmenter: Segmenter, name: str) -> None:
    labels, message = BAD[name]
    with pytest.raises(InvalidLabelsError, match=message):
        checked_labels(labels, CONFIG)
    row = {"image": encoded(_picture(0)), "labels": json.dumps(labels).encode()}
    (answer,) = respond(segmenter, [row], [{}], SERVER)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["type"], error["field"]) == (400, "invalid_labels", "labels")


def test_the_limit_counts_words(segmenter: Segmenter) -> None:
    several = [[f"a{number}", f"b{number}"] for number in range(127)]
    assert len(checked_labels([*several, "last"], CONFIG)) == 128
    with pytest.raises(InvalidLabelsError, match=r"^256 words in 129 labels were given; accepted: up to 255$"):
        checked_labels([*several, "last", "one more"], CONFIG)
    found = segmenter.segment(_picture(0), [*several, "last"])
    assert found.mask.max() < 128


def test_embeddings_refuse_a_group_and_take_a_label_of_one_word(segmenter: Segmenter) -> None:
    with pytest.raises(InvalidLabelsError, match="label 'car' is a group of 2 words"):
        segmenter.embed_labels(["sky", ["car", "automobile"]])  # type: ignore[list-item]
    row = {"labels": b'["sky", ["car", "automobile"]]', "format": b"embeddings"}
    (answer,) = respond(segmenter, [row], [{}], SERVER)
    assert answer.status == 400
    assert "each word as a label of its own" in json.loads(answer.body)["error"]["message"]
    row = {"image": encoded(_picture(0)), **row}
    assert respond(segmenter, [row], [{}], SERVER)[0].status == 400
    row["labels"] = b'["sky", ["car"]]'
    assert respond(segmenter, [row], [{}], SERVER)[0].status == 200


def test_embeddings_of_other_words_than_the_labels_are_refused() -> None:
    text = EncodedLabels(("a", "b"), torch.zeros(3, 8), 0.0, (1, 2))
    text.check_size(8)
    with pytest.raises(InvalidLabelsError, match=r"embeddings of 4 labels have the shape \[3, 8\]"):
        replace(text, counts=(2, 2)).check_size(8)
    with pytest.raises(InvalidLabelsError, match="embeddings of 3 labels"):
        replace(text, counts=(1, 1, 1)).check_size(8)


@pytest.mark.parametrize(
    "text",
    [
        "person\ncar | automobile\nplants",
        "person, car|automobile, plants",
        '["person", ["car", "automobile"], "plants"]',
    ],
)
def test_a_label_file_may_hold_groups(tmp_path: Path, text: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(text, encoding="utf-8")
    expected = ("person", Group("car", ("car", "automobile")), "plants")
    assert read_labels(str(file)) == expected
    chosen = load_label_set(str(file), CONFIG)
    assert chosen.labels == expected
    assert chosen.words == ["person", "car", "automobile", "plants"]
    assert checked_labels([as_json(label) for label in read_labels(str(file))], CONFIG) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat | , dog", "holds an empty label"),
        ('["cat", []]', "a label is a group without words"),
        ('["cat", [["dog"]]]', "a label is a group that holds a list"),
        ('["cat", {"name": "dog"}]', "a label is an object with the keys: name"),
        ('["cat", 7]', r"holds a number \(7\); accepted: texts, and groups"),
    ],
)
def test_a_label_file_with_a_bad_group_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LabelFileError, match=message):
        read_labels(str(file))


def test_a_group_is_written_as_it_was_read() -> None:
    named = Group("vehicle", ("car", "truck"))
    assert (as_json(named), as_text(named)) == ({"name": "vehicle", "any": ["car", "truck"]}, "vehicle: car | truck")
    unnamed = Group("car", ("car", "automobile"))
    assert (as_json(unnamed), as_text(unnamed)) == (["car", "automobile"], "car | automobile")
    assert (as_json("sky"), as_text("sky")) == ("sky", "sky")
