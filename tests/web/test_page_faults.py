"""Requests that are refused, in plain words, and how a person or the page itself goes on; by real servers."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser

from lseg_serve.web import Settings, create_app
from tests.conftest import PROJECT
from tests.serving.conftest import running
from tests.support.chromium import Visitor, visiting
from tests.support.pictures import encoded, noise
from tests.support.web import listening
from tests.web.conftest import endpoint_of

VILLAGE = PROJECT / "demo" / "pictures" / "village.jpg"
LABELS = ["sky", "lawn", "other"]
SECONDS = 120


@pytest.mark.parametrize(
    ("name", "content", "title", "said"),
    [
        ("page.pdf", b"%PDF-1.7", "This file is not a picture that the server reads.", "this is a PDF"),
        ("cut.jpg", VILLAGE.read_bytes()[:9000], "The picture is damaged.", ""),
    ],
)
def test_a_refused_picture_says_why_and_the_next_one_is_served(
    visitor: Visitor, name: str, content: bytes, title: str, said: str
) -> None:
    visitor.choose((name, content))
    visitor.write(*LABELS)
    visitor.page.wait_for_selector(".fault[role=alert]")
    assert visitor.fault() == title
    assert said in visitor.page.locator(".fault .said").inner_text()
    visitor.choose(VILLAGE)
    visitor.wait_for_mask(LABELS)
    visitor.wait_for_no_fault()


@pytest.mark.parametrize("is_answered_before", [False, True])
def test_labels_that_are_refused_are_named_and_can_be_changed(visitor: Visitor, is_answered_before: bool) -> None:
    visitor.choose(VILLAGE)
    if is_answered_before:  # what is left at the end needs no request then
        visitor.write("dogs & cats")
        visitor.wait_for_mask(["dogs & cats"])
        visitor.add("dogs &amp; cats")
    else:
        visitor.write("dogs & cats", "dogs &amp; cats")  # CLIP reads them as the same text
    visitor.page.wait_for_selector(".fault[role=alert]")
    assert visitor.fault() == "The labels cannot be used as they are."
    assert "is given twice" in visitor.page.locator(".fault .said").inner_text()
    visitor.page.get_by_role("button", name="Remove dogs &amp; cats").click()
    visitor.wait_for_mask(["dogs & cats"])
    visitor.wait_for_no_fault()


def test_a_picture_that_is_too_large_is_sent_smaller(browser: Browser, bundled_archive: Path, tmp_path: Path) -> None:
    """TorchServe refuses it by a 413 without a body."""
    large = encoded(noise(700, 900))
    with (
        running(bundled_archive, tmp_path, TS_MAX_REQUEST_SIZE="1000000") as server,
        listening(create_app(Settings((endpoint_of(server),)))) as url,
        visiting(browser, url) as visitor,
    ):
        assert len(large) > 1_000_000
        visitor.open()
        visitor.choose(("large.png", large))
        visitor.write(*LABELS)
        visitor.page.wait_for_selector(".fault")
        assert visitor.fault() == "The file is too large for the server."
        visitor.page.click("text=Send a smaller copy")
        visitor.wait_for_mask(LABELS)
        assert visitor.page.locator("canvas.mask").evaluate("node => node.width / node.height") == pytest.approx(
            9 / 7, 0.01
        )


def test_a_busy_server_is_asked_again(browser: Browser, bundled_archive: Path, tmp_path: Path) -> None:
    """Its queue holds one request, and others are in it."""
    with (
        running(bundled_archive, tmp_path, TS_JOB_QUEUE_SIZE="1") as server,
        listening(create_app(Settings((endpoint_of(server),)))) as url,
        visiting(browser, url) as visitor,
        ThreadPoolExecutor(6) as pool,
    ):
        visitor.open()
        visitor.choose(VILLAGE)
        visitor.write("sky")
        visitor.wait_for_mask(["sky"])
        refused: list[int] = []
        visitor.page.on("response", lambda answer: refused.append(answer.status) if answer.status == 503 else None)
        predictions = f"{server.addresses.inference_url}/predictions/lseg"
        image = encoded(Image.open(io.BytesIO(VILLAGE.read_bytes())))

        def occupy() -> None:
            requests.post(
                predictions, files={"image": image}, data={"labels": "sky", "mode": "accurate"}, timeout=SECONDS
            )

        waiting = [pool.submit(occupy) for _ in range(6)]
        visitor.page.wait_for_timeout(300)
        visitor.write(*LABELS)
        visitor.wait_for_mask(LABELS)
        for one in waiting:
            one.result()
        assert refused
        visitor.wait_for_no_fault()
