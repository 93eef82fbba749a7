"""Long work and changes of mind: what is left by an estimate, cancelled and stale requests."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page

from tests.conftest import PROJECT
from tests.support.chromium import Visitor, visiting

VILLAGE = PROJECT / "demo" / "pictures" / "village.jpg"
BEACH = PROJECT / "demo" / "gallery" / "beach.jpg"
LABELS = ["sky", "lawn", "other"]


def _estimated(page: Page) -> None:
    """Until work is under way whose end is estimated."""
    page.wait_for_selector(".progress[role=status] p")
    text = page.locator(".progress p span").inner_text()
    assert re.fullmatch(r"About \d+ s left, an estimate from the last answers", text), text
    value = page.get_by_role("progressbar", name="Segmenting").get_attribute("aria-valuenow")
    assert value is not None
    assert 0 < int(value) <= 100


def test_what_is_left_is_an_estimate_from_the_last_answers(visitor: Visitor) -> None:
    """Accurate mode computes for seconds. Of the first answer the page says only how long it has taken until now."""
    page = visitor.page
    page.set_default_timeout(120_000)
    visitor.choose(VILLAGE)
    page.click(".segmented >> text=Accurate")
    visitor.write(*LABELS)
    page.wait_for_selector(".progress[role=status] p")
    assert re.match(r"Working for \d+ s", page.locator(".progress p").inner_text())
    assert page.get_by_role("progressbar", name="Segmenting").get_attribute("aria-valuenow") is None
    visitor.wait_for_mask(LABELS, mode="accurate")
    assert page.locator(".progress").count() == 0
    # Another picture of about its size, then other words on that one: work of a kind that is known now.
    visitor.choose(BEACH)
    _estimated(page)
    visitor.wait_for_mask(LABELS, mode="accurate")
    page.get_by_role("button", name="Remove other").click()
    _estimated(page)
    before = visitor.masks_asked()
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(".progress", state="detached")
    page.wait_for_timeout(1000)
    assert visitor.masks_asked() == before


def test_stale_requests_are_aborted_and_typing_waits(browser: Browser, app_url: str) -> None:
    with visiting(browser, app_url) as visitor:
        visitor.open()
        aborted: list[str] = []
        visitor.page.on("requestfailed", lambda request: aborted.append(request.failure or ""))
        visitor.choose(VILLAGE)
        visitor.write("sky", "lawn")
        visitor.wait_for_mask(["sky", "lawn"])
        visitor.settled()
        # Seconds of work, and a change of mind.
        visitor.page.click(".segmented >> text=Accurate")
        visitor.page.wait_for_selector(".progress-bar")
        visitor.page.click(".segmented >> text=Fast")
        visitor.page.wait_for_selector(".progress-bar", state="detached")
        assert aborted
        assert set(aborted) == {"net::ERR_ABORTED"}
        visitor.page.wait_for_timeout(1000)
        before = visitor.masks_asked()
        visitor.page.locator(".chip-input").press_sequentially("cottage", delay=30)
        visitor.wait_for_mask(["sky", "lawn", "cottage"])  # the word being typed counts, once
        assert visitor.masks_asked() - before <= 2
