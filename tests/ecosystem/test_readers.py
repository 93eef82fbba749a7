"""Each format, read by a tool's own library in an environment of its own, is the mask of the PNG, pixel by pixel."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ecosystem.conftest import PICTURES, read

Made = Callable[..., Path]


def _assert_exact(found: dict[str, float]) -> None:
    assert found["wrong"] == 0
    assert found["items"] == len(PICTURES)
    assert found["objects"] > 3 * len(PICTURES)


@pytest.mark.parametrize(
    ("options", "format_name"),
    [
        (("--format", "coco-instances"), "coco_instances"),
        (("--format", "coco-instances", "--parts", "apart"), "coco_instances"),
        (("--format", "coco-stuff"), "coco_stuff"),
        (("--format", "coco-panoptic"), "coco_panoptic"),
        (("--format", "coco-panoptic", "--parts", "apart"), "coco_panoptic"),
    ],
)
def test_datumaro_reads_coco(options: tuple[str, ...], format_name: str, made: Made, images: Path, masks: Path) -> None:
    folder = made(*options)
    shutil.copytree(images, folder / "images", dirs_exist_ok=True)  # it looks for them there
    _assert_exact(read("datumaro", "read_datumaro", folder, format_name, masks))


@pytest.mark.parametrize("parts", ["together", "apart"])
def test_supervision_reads_coco(parts: str, made: Made, images: Path, masks: Path) -> None:
    folder = made("--format", "coco-instances", *(["--parts", parts] if parts == "apart" else []))
    document = folder / "annotations" / "instances_default.json"
    _assert_exact(read("supervision", "read_supervision", images, document, masks))


def test_label_studios_sdk_writes_and_reads_the_same_brush(made: Made, masks: Path) -> None:
    found = read("label-studio-sdk", "read_label_studio", made("--format", "json", "--geometry", "label_studio"), masks)
    _assert_exact(found)
    assert found["same"] == found["objects"]


def test_shapely_reads_exact_polygons_that_are_valid(made: Made, masks: Path) -> None:
    options = ("--format", "json", "--geometry", "polygons")
    exact = read("datumaro", "read_shapely", made(*options, "--tolerance", "0"), masks)
    assert (exact["items"], exact["invalid"]) == (len(PICTURES), 0)
    assert exact["worst"] == pytest.approx(1, abs=1e-12)
    simple = read("datumaro", "read_shapely", made(*options), masks)
    assert simple["worst"] >= 0.98
    assert simple["points"] < 0.8 * exact["points"]
