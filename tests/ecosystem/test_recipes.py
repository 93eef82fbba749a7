"""The recipes of docs/formats.md, run as they stand there in the environment of their tool."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import PROJECT
from tests.ecosystem.conftest import LABELS, PICTURES, python_of, read
from tests.support.documents import Block, blocks_of

BLOCKS = [
    block
    for block in blocks_of(PROJECT / "docs" / "formats.md", PROJECT)
    if block.language == "python" and "make test-ecosystem" in block.reason
]


def _recipe(module: str) -> Block:
    (block,) = [block for block in BLOCKS if f"import {module}" in block.text]
    return block


@pytest.fixture(scope="module")
def place(made: Callable[..., Path], images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the page leaves it: `coco` with documents and images."""
    folder = tmp_path_factory.mktemp("recipes")
    shutil.copytree(made("--format", "coco-instances"), folder / "coco")
    shutil.copytree(images, folder / "coco" / "images", dirs_exist_ok=True)
    return folder


def _run(environment: str, block: Block, place: Path) -> str:
    command = [str(python_of(environment)), "-"]
    run = subprocess.run(command, input=block.text, capture_output=True, text=True, cwd=place, check=False, timeout=900)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_there_is_a_recipe_for_each_tool() -> None:
    assert len(BLOCKS) == 2


def test_datumaro_converts_coco_and_reads_it_back(place: Path, masks: Path) -> None:
    _run("datumaro", _recipe("datumaro"), place)
    for name in ("voc", "cvat", "label_me", "cityscapes"):
        found = read("datumaro", "read_datumaro", place / "converted" / name, name, masks)
        assert (found["items"], found["wrong"]) == (len(PICTURES), 0), name


def test_supervision_draws_what_it_read(place: Path) -> None:
    printed = _run("supervision", _recipe("supervision"), place)
    assert f"{len(PICTURES)} images, {len(LABELS.split(','))} labels" in printed
    drawn = {path.name for path in (place / "drawn").iterdir()}
    assert drawn == {picture.name for picture in PICTURES}
    for picture in PICTURES:
        with Image.open(picture) as before, Image.open(place / "drawn" / picture.name) as after:
            assert before.size == after.size
            assert before.tobytes() != after.tobytes()
