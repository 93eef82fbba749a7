"""The formats coco and hf, read by pycocotools and by Hugging Face's own decoder, give the mask back."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from huggingface_hub.inference._common import _b64_to_image
from pycocotools import mask as coco

from lseg_serve.handler.formats.coco_document import encode_coco
from lseg_serve.handler.formats.content import Content, ServerInfo
from lseg_serve.handler.formats.hugging_face import encode_hf
from lseg_serve.segmenter import UNLABELLED, Bucket, ResponseTooLargeError, Segmentation
from tests.support.pictures import Pixels, noise
from tests.support.shapes import blobs

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder
LABELS = ("sky", "日本の猫", "absent", "tree")


def _mask() -> Pixels:
    mask = np.where(blobs(), 0, 3).astype(np.uint8)
    mask[blobs(seed=1) & blobs(seed=2)] = 1
    mask[:5] = UNLABELLED
    return mask


def _content(
    mask: Pixels, labels: tuple[str, ...] = LABELS, parts: str = "together", room: int = 10_000_000
) -> Content:
    means = np.linspace(0.25, 0.75, len(labels))
    result = Segmentation(labels, mask, Bucket(32, 64), torch.zeros(len(labels), 2, 2), means)
    return Content(noise(*mask.shape), result, ServerInfo("lseg", "1.0", "cpu", room), parts=parts)


def _coco(parts: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(encode_coco(_content(_mask(), parts=parts)))
    return document


def _pixels(annotation: dict[str, Any]) -> npt.NDArray[np.uint8]:
    segmentation = annotation["segmentation"]
    decoded: npt.NDArray[np.uint8] = coco.decode({**segmentation, "counts": segmentation["counts"].encode()})
    return decoded


@pytest.mark.parametrize("parts", ["together", "apart"])
def test_the_objects_are_the_mask(parts: str) -> None:
    document = _coco(parts)
    mask = _mask()
    height, width = mask.shape
    assert document["images"] == [{"id": 1, "file_name": "image", "width": width, "height": height}]
    assert [(one["id"], one["name"]) for one in document["categories"]] == list(enumerate(LABELS, 1))
    annotations = document["annotations"]
    assert [one["id"] for one in annotations] == list(range(1, len(annotations) + 1))
    found = np.full(mask.shape, UNLABELLED)
    for one in annotations:
        pixels = _pixels(one)
        assert (found[pixels == 1] == UNLABELLED).all(), "two objects overlap"
        found[pixels == 1] = one["category_id"] - 1
        rows, columns = np.nonzero(pixels)
        assert one["area"] == len(rows)
        left, top = columns.min(), rows.min()
        assert one["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
        assert one["score"] == pytest.approx(0.25 + (one["category_id"] - 1) / 6, abs=1e-6)
        assert (one["image_id"], one["iscrowd"]) == (1, 0)
    np.testing.assert_array_equal(found, mask)


def test_parts_are_one_object_or_several() -> None:
    assert [one["category_id"] for one in _coco("together")["annotations"]] == [1, 2, 4]
    apart = [one["category_id"] for one in _coco("apart")["annotations"]]
    for index in (0, 1, 3):
        number, _ = cv2.connectedComponents((_mask() == index).astype(np.uint8), connectivity=8)
        assert apart.count(index + 1) == number - 1
    assert len(apart) > 6


def test_more_parts_than_can_be_worked_off_are_refused() -> None:
    mask = np.full((300, 300), UNLABELLED, np.uint8)
    mask[::2, ::2] = 0
    assert len(json.loads(encode_coco(_content(mask)))["annotations"]) == 1
    with pytest.raises(ResponseTooLargeError, match="more than 20000 parts; accepted: fewer, or parts together"):
        encode_coco(_content(mask, parts="apart"))


def test_a_mask_too_fine_for_its_response_is_refused() -> None:
    mask = (np.indices((400, 400)).sum(axis=0) % 2).astype(np.uint8)
    with pytest.raises(ResponseTooLargeError, match="159600 times along its rows"):
        encode_coco(_content(mask, room=200_000))


def test_hf_is_a_list_of_labels_with_their_masks() -> None:
    entries = json.loads(encode_hf(_content(_mask())))
    assert [entry["label"] for entry in entries] == ["sky", "日本の猫", "tree"]
    assert [entry["score"] for entry in entries] == pytest.approx([0.25, 0.25 + 1 / 6, 0.75], abs=1e-6)
    for entry, index in zip(entries, (0, 1, 3), strict=True):
        picture = _b64_to_image(entry["mask"])
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), np.where(_mask() == index, 255, 0))


def test_hf_masks_of_too_many_pixels_are_refused() -> None:
    mask = np.zeros((1_000, 1_000), np.uint8)
    mask[0, :255] = np.arange(255)
    with pytest.raises(ResponseTooLargeError, match=r"255 labels have 255000000 pixels; accepted: up to 200000000$"):
        encode_hf(_content(mask, tuple(map(str, range(255)))))
