"""The formats of other tools, asked of a real server: Hugging Face's own client, and COCO documents of a folder."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import requests
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image
from pycocotools.coco import COCO

from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import LABEL_SET

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder
PHOTO = PROJECT / "demo" / "photos" / "cat.jpg"


def _mask(url: str, image: Path, labels: str | None = None) -> npt.NDArray[np.uint8]:
    fields = {} if labels is None else {"labels": labels}
    answer = requests.post(url, files={"image": image.read_bytes()}, data=fields, timeout=120)
    return np.asarray(Image.open(io.BytesIO(answer.content)))


@pytest.mark.parametrize(
    ("route", "headers", "labels"),
    [
        ("/predictions/lseg", {"X-LSeg-Format": "hf"}, LABEL_SET),
        ("/lseg/predict?format=hf&labels=cat,grass,other", {}, ["cat", "grass", "other"]),
    ],
    ids=["headers", "query"],
)
def test_the_inference_client_of_hugging_face(
    route: str, headers: dict[str, str], labels: list[str], server: LocalServer, url: str
) -> None:
    client = InferenceClient(model=f"{server.addresses.inference_url}{route}", headers=headers)
    elements = client.image_segmentation(PHOTO)
    mask = _mask(url, PHOTO, ",".join(labels))
    assert [one.label for one in elements] == [labels[index] for index in np.unique(mask)]
    for one in elements:
        assert isinstance(one.mask, Image.Image)
        assert one.mask.mode == "L"
        np.testing.assert_array_equal(np.asarray(one.mask) == 255, mask == labels.index(one.label))
        assert one.score is not None and 0 < one.score <= 1


def test_the_inference_client_is_told_what_is_wrong(server: LocalServer) -> None:
    client = InferenceClient(model=f"{server.addresses.inference_url}/lseg/predict?format=hf&labels=cat,cat")
    with pytest.raises(HfHubHTTPError) as caught:
        client.image_segmentation(PHOTO)
    assert caught.value.response.status_code == 400
    assert "label 'cat' is given twice" in caught.value.response.text


def _segment(server: LocalServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lseg_serve.cli", "segment", *arguments, "--url", server.addresses.inference_url]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)


def _last(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    document: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return document


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos, in two folders."""
    folder = tmp_path_factory.mktemp("images")
    with Image.open(PHOTO) as photo:
        for number, name in enumerate(("1.png", "2.png", "below/1.png")):
            (folder / name).parent.mkdir(exist_ok=True)
            photo.crop((20 * number, 0, 200, 150 + number)).save(folder / name)
    return folder


def test_a_folder_becomes_coco_documents_and_is_asked_for_once(
    server: LocalServer, url: str, images: Path, tmp_path: Path
) -> None:
    """The command is given again after an image was lost, and for other documents of the same answers."""
    own = tmp_path / "own.json"
    own.write_text(json.dumps([{"id": 90, "name": "cat", "isthing": 1}, {"id": 4, "name": "grass"}]))
    common = (str(images), "--output", str(tmp_path / "out"), "--labels", "cat,grass")
    first = _last(_segment(server, *common, "--format", "coco-instances", "--categories", str(own)))
    assert (first["document"], first["images"]) == (str(tmp_path / "out/annotations/instances_default.json"), 3)
    whole = Path(first["document"]).read_bytes()

    read = COCO(first["document"])
    for image in read.dataset["images"]:
        mask = _mask(url, images / image["file_name"], "cat,grass")
        for one in read.loadAnns(read.getAnnIds(image["id"])):
            np.testing.assert_array_equal(read.annToMask(one) == 1, mask == [90, 4].index(one["category_id"]))

    (tmp_path / "out/2.json").unlink()
    again = _segment(server, *common, "--format", "coco-instances", "--categories", str(own))
    assert Path(_last(again)["document"]).read_bytes() == whole
    assert sorted(json.loads(line).get("status", "") for line in again.stdout.splitlines()) == [
        "", "done", "skipped", "skipped",
    ]  # fmt: skip

    panoptic = _segment(server, *common, "--format", "coco-panoptic")
    assert panoptic.stdout.count('"skipped"') == 3
    document = json.loads(Path(_last(panoptic)["document"]).read_bytes())
    for annotation, name in zip(document["annotations"], ("1.png", "2.png", "below/1.png"), strict=True):
        assert annotation["file_name"] == name
        pixels = np.asarray(Image.open(tmp_path / "out/annotations/panoptic_default" / name))
        names = {segment["id"]: segment["category_id"] - 1 for segment in annotation["segments_info"]}
        found = np.vectorize(names.__getitem__)(pixels[..., 0])
        np.testing.assert_array_equal(found, _mask(url, images / name, "cat,grass"))
