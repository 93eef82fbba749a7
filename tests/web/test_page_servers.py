"""One picture on two servers with different models: both masks, how far they agree, and the swipe between them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser

from lseg_serve.server import LocalServer
from lseg_serve.web import Endpoint, Settings, create_app
from tests.conftest import PROJECT
from tests.serving.conftest import export_archive, running
from tests.support.chromium import Visitor, colours, visiting
from tests.support.pictures import Pixels
from tests.support.web import listening

VILLAGE = PROJECT / "demo" / "pictures" / "village.jpg"
LABELS = ["sky", "lawn", "cottage", "other"]
SECONDS = 120
UNIFORM = 12  # pixels of the mask around a point that is looked at on the screen


@pytest.fixture(scope="module")
def small(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A second TorchServe, with the small network of random weights: its masks are others."""
    archive = export_archive(small_checkpoint, tmp_path_factory.mktemp("small"))
    with running(archive, tmp_path_factory.mktemp("second")) as server:
        yield server


@pytest.fixture
def visitor(browser: Browser, endpoint: LocalServer, small: LocalServer) -> Iterator[Visitor]:
    """Someone who has opened the page in front of both, as `--server` names them."""
    options = [
        f"{name}={server.addresses.inference_url},{server.addresses.management_url}"
        for name, server in (("drawn", endpoint), ("random", small))
    ]
    app = create_app(Settings(tuple(Endpoint.parse(option) for option in options)))
    with listening(app) as url, visiting(browser, url) as one:
        one.open()
        yield one


def _mask(server: LocalServer, labels: list[str], **fields: str) -> bytes:
    answer = requests.post(
        f"{server.addresses.inference_url}/predictions/lseg",
        files={"image": VILLAGE.read_bytes()},
        data={"labels": json.dumps(labels), **fields},
        timeout=SECONDS,
    )
    assert answer.status_code == 200, answer.text
    return answer.content


def _indices(png: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(png)))


def _wait_for_agreement(visitor: Visitor, first: bytes, second: bytes) -> None:
    """Until the share of pixels on which the two masks agree is said."""
    share = float(np.mean(_indices(first) == _indices(second)))
    assert 0.01 < share < 0.99
    text = f"The two masks agree on {share * 100:.{1 if share < 0.0995 else 0}f} % of the pixels."
    visitor.page.wait_for_function("text => document.querySelector('.agreement')?.textContent === text", arg=text)


def test_two_servers_are_compared(visitor: Visitor, endpoint: LocalServer, small: LocalServer) -> None:
    page = visitor.page
    visitor.choose(VILLAGE)
    visitor.write(*LABELS)
    visitor.wait_for_mask(LABELS)
    page.get_by_label("Compare with").select_option(label="random/lseg · Fast")
    visitor.wait_for_mask(LABELS, layer="other")
    drawn, random = _mask(endpoint, LABELS), _mask(small, LABELS)
    assert np.array_equal(visitor.canvas("mask"), colours(drawn))
    assert np.array_equal(visitor.canvas("other"), colours(random))
    _wait_for_agreement(visitor, drawn, random)
    captions = [page.locator(f".caption[data-side={side}]").inner_text() for side in ("left", "right")]
    assert captions == ["drawn/lseg · Fast", "random/lseg · Fast"]
    # A new word: both masks follow, and so does the share.
    page.fill(".chip-input", "sheep")
    page.press(".chip-input", "Enter")
    more = [*LABELS, "sheep"]
    visitor.wait_for_mask(more, layer="other")
    _wait_for_agreement(visitor, _mask(endpoint, more), _mask(small, more))
    # The other way round, and in another mode: the mask that it is compared with stays.
    page.get_by_label("Compare with").select_option(label="drawn/lseg · Accurate")
    visitor.wait_for_mask(more, mode="accurate", layer="other")
    page.locator(".options select").first.select_option("random/lseg")
    page.wait_for_function(
        "() => JSON.parse(document.querySelector('canvas[data-layer=mask]').dataset.question)[0] === 'random/lseg'"
    )
    _wait_for_agreement(visitor, _mask(small, more), _mask(endpoint, more, mode="accurate"))


@pytest.mark.parametrize("view", ["swipe", "split"])
def test_the_screen_shows_each_mask_on_its_side(
    visitor: Visitor, endpoint: LocalServer, small: LocalServer, view: str
) -> None:
    page = visitor.page
    visitor.choose(VILLAGE)
    visitor.write(*LABELS)
    page.get_by_label("Compare with").select_option(label="random/lseg · Fast")
    visitor.wait_for_mask(LABELS)
    visitor.wait_for_mask(LABELS, layer="other")
    page.get_by_label("Mask opacity").fill("1")
    if view == "split":
        page.locator(".view-bar label", has_text="Side by side").click()
    else:
        box = page.locator(".viewer").bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] / 2, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.3, middle, steps=5)
        page.mouse.up()
    page.mouse.move(2, 2)
    page.wait_for_timeout(300)  # the last frame
    screen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    for number, (layer, server) in enumerate((("mask", endpoint), ("other", small))):
        mask = colours(_mask(server, LABELS))[..., :3]
        sheet = page.locator(f"canvas[data-layer={layer}]").bounding_box()
        pane = page.locator(".pane").nth(number if view == "split" else 0).bounding_box()
        assert sheet is not None
        assert pane is not None
        left, right = pane["x"], pane["x"] + pane["width"]
        if view == "swipe":
            line = pane["x"] + pane["width"] * 0.3
            left, right = (left, line) if layer == "mask" else (line, right)
        seen = 0
        for y in range(60, 760, 50):
            for x in range(60, 1160, 50):
                around = mask[y - UNIFORM : y + UNIFORM, x - UNIFORM : x + UNIFORM]
                column = round(sheet["x"] + (x + 0.5) * sheet["width"] / 1200)
                row = round(sheet["y"] + (y + 0.5) * sheet["height"] / 800)
                # The handle, the captions and the buttons lie over the mask.
                free = left + 30 < column < right - 30 and pane["y"] + 60 < row < pane["y"] + pane["height"] - 60
                if not free or abs(row - pane["y"] - pane["height"] / 2) < 30 or np.any(around != mask[y, x]):
                    continue
                assert np.abs(screen[row, column] - mask[y, x]).max() <= 2, (layer, x, y)
                seen += 1
        assert seen >= 10, layer
