"""KServe's SDK and Triton's client get the masks of the plain endpoint, where an environment with both is at hand."""

from __future__ import annotations

import io
import json
import os
import subprocess
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PROJECT
from tests.front.conftest import FORM
from tests.support.front import Front
from tests.support.pictures import encoded, noise

VARIABLE = "LSEG_FOREIGN_CLIENTS"
PYTHON = os.environ.get(VARIABLE)
LABELS = ["sky", "tree"]
FORMS = ["kserve v1", "kserve v2 json", "kserve v2 binary"] + [
    f"triton {form}" for form in ("json", "binary", "pixels", "gzip", "all outputs")
]


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [encoded(noise(64, 96, seed)) for seed in range(3)]


@pytest.fixture(scope="module")
def found(
    plain_front: Front, files: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, dict[str, Any]]:
    """The masks of each client and form, and what else they said."""
    if PYTHON is None:
        pytest.skip(f"{VARIABLE} names no Python with kserve and tritonclient[http] (docs/kserve.md)")
    folder = tmp_path_factory.mktemp("clients")
    pictures = [folder / f"{number}.png" for number in range(len(files))]
    for picture, file in zip(pictures, files, strict=True):
        picture.write_bytes(file)
    script = PROJECT / "tests" / "support" / "foreign_clients.py"
    command = [PYTHON, str(script), str(folder / "masks.npz"), plain_front.url, plain_front.key, ",".join(LABELS)]
    run = subprocess.run([*command, *map(str, pictures)], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return np.load(folder / "masks.npz"), json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("form", FORMS)
def test_masks_are_those_of_the_plain_endpoint(
    plain_front: Front, files: list[bytes], found: tuple[Any, dict[str, Any]], form: str
) -> None:
    answers = [plain_front.ask("POST", "/predictions/lseg", data=file, headers=FORM) for file in files]
    expected = np.stack([np.asarray(Image.open(io.BytesIO(answer.content))) for answer in answers])
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(found[0][form], expected)
    assert set(found[0].files) == set(FORMS)


def test_they_find_the_server_and_the_model_ready(found: tuple[Any, dict[str, Any]]) -> None:
    said = found[1]
    asked = [name for name in said if name.endswith(("live", "ready"))]
    assert len(asked) == 10
    assert {name: said[name] for name in asked} == {name: name != "v2 other model ready" for name in asked}
    assert said["triton server"] == "lseg-serve"
    assert (said["triton model"]["name"], said["triton model"]["versions"]) == ("lseg", ["1.0"])


def test_ids_and_labels_come_back(found: tuple[Any, dict[str, Any]]) -> None:
    said = found[1]
    for form in ("json", "binary"):
        assert (said[f"v2 {form} id"], said[f"v2 {form} labels"]) == (f"id-{form}", LABELS)
    for form in ("json", "binary", "pixels", "gzip"):
        assert said[f"triton {form} id"] == form
    assert said["triton labels"] == LABELS


def test_their_errors_have_this_projects_words(found: tuple[Any, dict[str, Any]]) -> None:
    said = found[1]
    assert "instances is an empty list" in said["v1 error"]
    assert "400 Bad Request" in said["v1 error"]
    assert "are not an image; accepted: JPEG, PNG" in said["v2 error"]
    assert "415 Unsupported Media Type" in said["v2 error"]
    assert "mode is 'best'; accepted: fast, accurate" in said["triton error"]
    assert "[400]" in said["triton error"]
