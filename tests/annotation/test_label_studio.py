"""The real Label Studio: predictions asked for, drawn, exported, and refused in words."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser

from lseg_serve.client import Mask, read_mask
from lseg_serve.server import LocalServer
from tests.annotation.studio import Studio
from tests.conftest import PROJECT
from tests.support.label_studio import running_backend, unpacked

VILLAGE = PROJECT / "demo" / "pictures" / "village.jpg"
# Screenshots are kept there, for whoever wants to look.
PICTURES = os.environ.get("LSEG_SCREENSHOTS")
WORDS = ["sky", "lawn", "cottage|rooftop", "street", "cow"]  # as a request has a group
LABELS = """<Label value="sky" background="#4477aa"/><Label value="lawn" alias="grass" background="#228833"/>
<Label value="building" predicted_values="cottage, rooftop" background="#ee6677"/>
<Label value="street" background="#ccbb44"/><Label value="cow"/><Label value="found" predicted_values="$words"/>"""
COLORS = {"#4477aa": ["sky"], "#228833": ["lawn"], "#ee6677": ["cottage|rooftop"], "#ccbb44": ["street"]}
CONFIG = f"""<View><Image name="image" value="$image"/><TextArea name="words" toName="image"/>
<BrushLabels name="tag" toName="image">{LABELS}</BrushLabels></View>"""


@pytest.fixture(scope="module")
def labelled(studio: Studio, backend: str) -> tuple[int, int]:
    """A project with one task, and its task."""
    project, (task,) = studio.project(CONFIG, backend, VILLAGE)
    return project, task


def _mask(endpoint: LocalServer, words: list[str]) -> Mask:
    answer = requests.post(
        f"{endpoint.addresses.inference_url}/predictions/lseg",
        files={"image": VILLAGE.read_bytes()},
        data={"labels": ",".join(words)},
        timeout=120,
    )
    return read_mask(answer.content)


def _word(region: dict[str, Any]) -> str:
    """The words that found a region, as a request has them: in its note where they are not the label itself."""
    (label,) = region["value"]["brushlabels"]
    return str(region["meta"]["text"][0] if "meta" in region else label).replace(", ", "|")


def _drawn(prediction: dict[str, Any], words: list[str]) -> npt.NDArray[np.uint8]:
    """The mask that a prediction's regions are, 255 where there is none."""
    mask = np.full((800, 1200), 255, np.uint8)
    for region in prediction["result"]:
        mask[unpacked(region["value"]["rle"], (800, 1200))] = words.index(_word(region))
    return mask


def _without_small(mask: Mask, share: float = 0.001) -> npt.NDArray[np.uint8]:
    """The mask without labels that have less of it than the backend's default minimum."""
    kept: npt.NDArray[np.uint8] = mask.indices.copy()
    for index in range(len(mask.legend)):
        if np.mean(mask.indices == index) < share:
            kept[mask.indices == index] = 255
    return kept


def test_predictions_are_the_endpoints_mask(studio: Studio, endpoint: LocalServer, labelled: tuple[int, int]) -> None:
    (prediction,) = studio.predictions(labelled[1])
    assert prediction["model_version"].startswith("lseg 1.0 (")
    assert 0.3 < prediction["score"] <= 1
    assert {"sky", "grass", "building"} <= {one["value"]["brushlabels"][0] for one in prediction["result"]}
    assert np.array_equal(_drawn(prediction, WORDS), _without_small(_mask(endpoint, WORDS)))


def test_predictions_are_drawn_in_the_browser(studio: Studio, browser: Browser, labelled: tuple[int, int]) -> None:
    (prediction,) = studio.predictions(labelled[1])
    with studio.looked_at(browser, *labelled) as page:
        listed = page.locator(".lsf-outliner-item").all_inner_texts()
        box = page.locator('img[src^="blob:"]').bounding_box()
        screenshot = page.screenshot(path=_picture("label-studio"))
    assert len(listed) == len(prediction["result"])
    assert box is not None
    corner, size = (box["x"], box["y"]), (round(box["width"]), round(box["height"]))
    left, top = map(round, corner)
    shown = np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB"), np.float64)
    shown = shown[top : top + size[1], left : left + size[0]]
    with Image.open(VILLAGE) as image:
        plain = np.asarray(image.convert("RGB").resize(size), np.float64)
    mask = np.asarray(Image.fromarray(_drawn(prediction, WORDS)).resize(size, Image.Resampling.NEAREST))
    for color, words in COLORS.items():
        region = np.isin(mask, [WORDS.index(word) for word in words])
        over = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) - plain[region]
        change = shown[region] - plain[region]
        strength = (change * over).sum() / (over * over).sum()
        assert 0.15 < strength < 0.95, (color, strength)
        assert np.abs(change - strength * over).mean() < 8, color


def test_an_accepted_prediction_is_exported_as_the_mask(
    studio: Studio, endpoint: LocalServer, labelled: tuple[int, int]
) -> None:
    project, task = labelled
    (prediction,) = studio.predictions(task)
    accepted = {"result": prediction["result"], "parent_prediction": prediction["id"]}
    studio.ask("POST", f"/api/tasks/{task}/annotations/", 201, json=accepted)
    files = studio.exported(project, "BRUSH_TO_NUMPY")
    mask = _without_small(_mask(endpoint, WORDS))
    by_label = {
        "sky": ["sky"],
        "grass": ["lawn"],
        "building": ["cottage|rooftop"],
        "street": ["street"],
        "cow": ["cow"],
    }
    for label, words in by_label.items():
        exported = np.zeros(mask.shape, bool)
        for name, content in files.items():
            if f"-{label}-" in name:
                exported |= np.load(io.BytesIO(content)) > 0
        assert np.array_equal(exported, np.isin(mask, [WORDS.index(word) for word in words])), (label, list(files))


def test_changed_words_take_effect(studio: Studio, endpoint: LocalServer, backend: str) -> None:
    project, (task,) = studio.project(CONFIG, backend, VILLAGE)
    (first,) = studio.predictions(task)
    changed = CONFIG.replace("cottage, rooftop", "pink balloon")
    studio.ask("PATCH", f"/api/projects/{project}", json={"label_config": changed})
    studio.retrieve(project)
    _, second = studio.predictions(task)
    assert second["model_version"] != first["model_version"]
    words = ["sky", "lawn", "pink balloon", "street", "cow"]
    assert np.array_equal(_drawn(second, words), _without_small(_mask(endpoint, words)))
    # Words that a person writes in the text area of an annotation.
    written = {"from_name": "words", "to_name": "image", "type": "textarea", "value": {"text": ["sheep, person"]}}
    studio.ask("POST", f"/api/tasks/{task}/annotations/", 201, json={"result": [written]})
    studio.retrieve(project)
    *_, third = studio.predictions(task)
    assert third["model_version"].endswith("+ sheep, person")
    more = [*words, "sheep", "person"]
    assert {"sheep", "person"} <= {_word(one) for one in third["result"]}
    assert np.array_equal(_drawn(third, more), _without_small(_mask(endpoint, more)))


def test_a_personal_access_token_fetches_uploads(studio: Studio, endpoint: LocalServer) -> None:
    personal = studio.ask("POST", "/api/token/", 201)["token"]
    for key, outcome in ((personal, "lseg 1.0 ("), (f"{personal[:-4]}abcd", "Failed: Label Studio does not accept")):
        with running_backend(endpoint, studio.url, LABEL_STUDIO_API_KEY=key) as (url, log):
            _, (task,) = studio.project(CONFIG, url, VILLAGE)
            (prediction,) = studio.predictions(task)
        assert prediction["model_version"].startswith(outcome)
        assert key not in "".join(log)


@pytest.mark.parametrize("shape", ["Brush", "Polygon", "PolygonLabels"])
def test_other_controls_are_drawn_too(studio: Studio, backend: str, browser: Browser, shape: str) -> None:
    labels = "Labels" if shape in ("Brush", "Polygon") else shape
    own = f'<{shape} name="shape" toName="image"/>' if labels == "Labels" else ""
    config = CONFIG.replace("<BrushLabels", f"{own}<{labels}").replace("</BrushLabels", f"</{labels}")
    project, (task,) = studio.project(config, backend, VILLAGE)
    (prediction,) = studio.predictions(task)
    regions = {one["id"] for one in prediction["result"]}
    assert regions
    with studio.looked_at(browser, project, task) as page:
        page.screenshot(path=_picture(f"label-studio-{shape}"))
        assert page.locator(".lsf-outliner-item").count() > 0


@pytest.mark.parametrize(
    ("data", "config", "message"),
    [
        ({"image": "http://169.254.169.254/latest"}, CONFIG, "links to the host '169.254.169.254', port 80, are not"),
        ({"image": "http://localhost:8081/models"}, CONFIG, "links to the host 'localhost', port 8081, are not"),
        ({"image": "/data/upload/1/0000-gone.jpg"}, CONFIG, "cannot be fetched: 127.0.0.1:"),
        ({"image": "/api/current-user/token"}, CONFIG, "is none of Label Studio's files"),
        (
            {"image": "http://example.com/a.jpg"},
            CONFIG.replace("BrushLabels", "RectangleLabels"),
            "the labelling configuration has RectangleLabels, TextArea; accepted: BrushLabels",
        ),
    ],
    ids=["private", "loopback", "missing", "api", "tag"],
)
def test_a_hostile_task_is_refused_and_told(
    studio: Studio, backend: str, browser: Browser, data: dict[str, str], config: str, message: str
) -> None:
    project, (task,) = studio.project(config, backend, data)
    (prediction,) = studio.predictions(task)
    assert prediction["result"] == []
    assert message in prediction["model_version"]
    with studio.looked_at(browser, project, task, data["image"]) as page:
        page.locator(".lsf-annotation-button__userpic_prediction").first.hover()
        page.get_by_text(message).first.wait_for()
        page.screenshot(path=_picture(f"label-studio-refused-{task}"))


def _picture(name: str) -> Path | None:
    return Path(PICTURES) / f"{name}.png" if PICTURES else None
