"""COCO documents of a folder: pycocotools and the panoptic format's rules give each image's mask back."""

from __future__ import annotations

import argparse
import json
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from lseg_serve.cli import segment
from lseg_serve.cli.manners import CommandError
from lseg_serve.cli.segmentation.categories import read_categories
from lseg_serve.cli.segmentation.coco import INSTANCES, PANOPTIC, RESULTS, STUFF, Document
from lseg_serve.cli.segmentation.formats import document_of
from lseg_serve.cli.segmentation.inputs import Source
from lseg_serve.cli.segmentation.record import Record
from lseg_serve.handler.formats.coco_document import encode_coco
from lseg_serve.handler.formats.content import Content, ServerInfo
from lseg_serve.segmenter import UNLABELLED, Bucket, Segmentation
from tests.support.pictures import Pixels, noise
from tests.support.shapes import blobs

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder
LABELS = ("sky", "tree", "absent")
NAMES = ("a.jpg", "below/b.png", "below/a.jpg")
CATEGORIES = [
    {"id": 7, "name": "absent", "isthing": 1, "color": [1, 2, 3]},
    {"id": 90, "name": "sky", "supercategory": "outdoor"},
    {"id": 12, "name": "tree"},
    {"id": 3, "name": "not asked for"},
]
IDS = {"sky": 90, "tree": 12, "absent": 7}


def _mask(seed: int) -> Pixels:
    mask = np.where(blobs(40 + seed, 60, seed), 0, 1).astype(np.uint8)
    mask[: 3 + seed] = UNLABELLED
    return mask


MASKS = {name: _mask(seed) for seed, name in enumerate(NAMES)}
SOURCES = [Source(Path("/images") / name, PurePath(name)) for name in NAMES]


def _answer(mask: Pixels, parts: str, labels: tuple[str, ...] = LABELS) -> bytes:
    result = Segmentation(
        labels, mask, Bucket(32, 64), torch.zeros(len(labels), 2, 2), np.linspace(0.5, 0.9, len(labels))
    )
    return encode_coco(Content(noise(*mask.shape), result, ServerInfo("lseg", "1", "cpu", 10**7), parts=parts))


@pytest.fixture(params=["together", "apart"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Record:
    """A folder with the answers to all images, as the endpoint gives them."""
    record = Record(tmp_path, {})
    record.place(SOURCES, ".json")
    for source, mask in zip(SOURCES, MASKS.values(), strict=True):
        record.output_of(source).parent.mkdir(exist_ok=True)
        record.output_of(source).write_bytes(_answer(mask, request.param))
    return record


@pytest.fixture
def categories(tmp_path: Path) -> Path:
    path = tmp_path / "categories.json"
    path.write_text(json.dumps({"categories": CATEGORIES, "images": [{"id": 500, "file_name": NAMES[1]}]}))
    return path


def _document(format: str, categories: Path | None = None) -> Document:  # noqa: A002
    if categories is None:
        return Document(format, None, None)
    own = read_categories(categories)
    return Document(format, own, own.ids_of(LABELS))


def _ids(categories: Path | None) -> dict[str, int]:
    return {"sky": 1, "tree": 2, "absent": 3} if categories is None else IDS


@pytest.mark.parametrize("format", [INSTANCES, STUFF])
@pytest.mark.parametrize("own", [False, True])
def test_pycocotools_reads_each_mask_back(format: str, own: bool, record: Record, categories: Path) -> None:  # noqa: A002
    given = categories if own else None
    document = _document(format, given)
    path = document.write(SOURCES, record)
    assert path.name == {INSTANCES: "instances_default.json", STUFF: "stuff_default.json"}[format]
    read = COCO(path)
    assert {one["name"]: one["id"] for one in read.dataset["categories"]}.items() >= _ids(given).items()
    annotations = read.dataset["annotations"]
    assert [one["id"] for one in annotations] == list(range(1, len(annotations) + 1))
    assert document.objects == len(annotations)
    assert [one["file_name"] for one in read.dataset["images"]] == list(NAMES)
    assert [one["id"] for one in read.dataset["images"]] == ([501, 500, 502] if own else [1, 2, 3])
    name_of = {number: name for name, number in _ids(given).items()}
    for image in read.dataset["images"]:
        mask = MASKS[image["file_name"]]
        assert (image["height"], image["width"]) == mask.shape
        found = np.full(mask.shape, UNLABELLED)
        for one in read.loadAnns(read.getAnnIds(image["id"])):
            found[read.annToMask(one) == 1] = LABELS.index(name_of[one["category_id"]])
        np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize("own", [False, True])
def test_each_panoptic_png_is_the_mask(own: bool, record: Record, categories: Path) -> None:
    given = categories if own else None
    path = _document(PANOPTIC, given).write(SOURCES, record)
    document: dict[str, Any] = json.loads(path.read_bytes())
    assert {one["name"]: one["isthing"] for one in document["categories"]}["absent"] == int(own)
    name_of = {number: name for name, number in _ids(given).items()}
    images = {one["id"]: one["file_name"] for one in document["images"]}
    assert [one["file_name"] for one in document["annotations"]] == ["a.png", "below/b.png", "below/a.png"]
    for annotation in document["annotations"]:
        mask = MASKS[images[annotation["image_id"]]]
        pixels = np.asarray(Image.open(path.with_suffix("") / annotation["file_name"])).astype(np.uint32)
        ids = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
        found = np.full(mask.shape, UNLABELLED)
        for one in annotation["segments_info"]:
            own_pixels = ids == one["id"]
            assert one["area"] == own_pixels.sum()
            found[own_pixels] = LABELS.index(name_of[one["category_id"]])
        np.testing.assert_array_equal(found, mask)
        assert set(np.unique(ids)) == {0, *(one["id"] for one in annotation["segments_info"])}


def test_results_are_read_beside_their_ground_truth(record: Record, tmp_path: Path) -> None:
    """The instances are the truth here, so each result is the object of the same place."""
    truth = COCO(_document(INSTANCES).write(SOURCES, record))
    results = json.loads(_document(RESULTS).write(SOURCES, record).read_bytes())
    assert set(results[0]) == {"image_id", "category_id", "segmentation", "score"}
    read = truth.loadRes(results)
    for mine, own in zip(read.dataset["annotations"], truth.dataset["annotations"], strict=True):
        assert mine["score"] == {1: 0.5, 2: 0.7}[mine["category_id"]]
        assert (mine["image_id"], mine["category_id"]) == (own["image_id"], own["category_id"])
        np.testing.assert_array_equal(read.annToMask(mine), truth.annToMask(own))


def test_results_need_the_ids_that_their_images_have(record: Record, categories: Path) -> None:
    with pytest.raises(CommandError, match=r"'a.jpg' is no image of .*categories.json; results need the id"):
        _document(RESULTS, categories).write(SOURCES, record)
    assert {
        one["image_id"] for one in json.loads(_document(RESULTS, categories).write(SOURCES[1:2], record).read_bytes())
    } == {500}


def test_two_images_of_one_name_are_refused() -> None:
    twice = [*SOURCES, Source(Path("/others/a.jpg"), PurePath("a.jpg"))]
    with pytest.raises(
        CommandError, match=r"two images would be 'a.jpg' in the document; accepted: a folder above both"
    ):
        _document(INSTANCES).image_ids(twice)


def test_an_answer_of_other_labels_is_refused(record: Record) -> None:
    record.output_of(SOURCES[1]).write_bytes(_answer(MASKS[NAMES[1]], "together", ("sky", "grass", "absent")))
    with pytest.raises(CommandError, match=r"b.json is of other labels than the answers before it; accepted: --again"):
        _document(INSTANCES).write(SOURCES, record)
    record.output_of(SOURCES[1]).write_bytes(b"{")
    with pytest.raises(CommandError, match=r"b.json is damaged .*; remove it"):
        _document(INSTANCES).write(SOURCES, record)
    assert not (record.folder / "annotations/instances_default.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("{}", "holds no categories"),
        ("[]", "holds no categories"),
        ('[{"id": true, "name": "a"}]', "is no category; accepted: a COCO document, or a list such as"),
        ('[{"id": 1}]', "is no category"),
        ('[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]', "two categories have the id 1"),
        ('[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]', "two categories have the name 'a'"),
        ('{"categories": [{"id": 1, "name": "a"}], "images": [{"id": 1}]}', "an image has no id or no file_name"),
    ],
)
def test_a_file_that_holds_no_categories_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(content)
    with pytest.raises(CommandError, match=message):
        read_categories(path)


def test_a_label_that_is_no_category_is_refused(categories: Path) -> None:
    with pytest.raises(
        CommandError, match=r"the label 'cow' is no category of .*; accepted: absent, sky, tree, not asked for"
    ):
        read_categories(categories).ids_of(["sky", "cow"])


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--categories", "own.json"], 2, r"--categories is given with --format png; accepted: coco-instances, "),
        (["--format", "coco-stuff", "--parts", "apart"], 2, r"--parts apart is given with coco-stuff"),
        (["--format", "coco-results", "-o", "-"], 2, r"--format coco-results writes a folder; accepted: --format coco"),
        (["--format", "embeddings", "--parts", "apart"], 2, r"--parts is given with --format embeddings"),
        (["--format", "coco-stuff", "--categories", "absent.json"], 3, r"absent.json cannot be read"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], status: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=message) as caught:
        segment.run(_arguments("cat.jpg", *arguments))
    assert caught.value.status == status
    assert not list(tmp_path.iterdir())


def test_groups_are_known_by_their_names(categories: Path) -> None:
    given = ["--format", "coco-stuff", "--categories", str(categories), "--labels"]
    document = document_of(_arguments("cat.jpg", *given, '[{"name": "tree", "any": ["oak", "fir"]}, "sky"]'))
    assert document is not None
    assert document.ids == [12, 90]
    with pytest.raises(CommandError, match="the label 'oak' is no category"):
        document_of(_arguments("cat.jpg", *given, '[["oak", "fir"], "sky"]'))


def test_no_document_is_written_where_the_server_went_away(photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(photo)
    given = (str(tmp_path / "cat.jpg"), "--output", str(tmp_path / "out"), "--format", "coco-stuff")
    assert segment.run(_arguments(*given, "--url", "http://127.0.0.1:9", "--patience", "0.1")) == 4
    assert not list((tmp_path / "out").glob("[!.]*"))


def _arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    segment.add_arguments(parser)
    return parser.parse_args(given)
