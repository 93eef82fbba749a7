"""Labels in any script and direction, and the page in German."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Browser

from tests.conftest import PROJECT
from tests.support.chromium import Visitor, visiting
from tests.web.conftest import PHONE

CAT = PROJECT / "demo" / "photos" / "cat.jpg"
RIGHT_TO_LEFT = ["שמיים", "السماء (زرقاء)"]
LEFT_TO_RIGHT = ["天空", "आकाश", "небо", "🌳 tree"]


def test_labels_of_any_script(visitor: Visitor, tmp_path: Path) -> None:
    labels = [*RIGHT_TO_LEFT, *LEFT_TO_RIGHT]
    page = visitor.page
    visitor.choose(CAT)
    visitor.write(*labels)
    visitor.wait_for_mask(labels)
    visitor.settled()
    assert set(labels) <= set(visitor.legend())
    directions = """nodes => Object.fromEntries(
        nodes.map(node => [node.textContent, getComputedStyle(node).direction]))"""
    for place in (".chip bdi", ".legend .isolate bdi"):
        found = page.locator(place).evaluate_all(directions)
        assert {name: found[name] for name in labels} == {
            name: "rtl" if name in RIGHT_TO_LEFT else "ltr" for name in labels
        }
    # The share stays behind the name in the read-out, and the file has the labels as they were written.
    page.locator(".viewer").focus()
    page.keyboard.press("ArrowRight")
    name, figures = (page.locator(f".readout-{part}").bounding_box() for part in ("name", "figures"))
    assert name is not None
    assert figures is not None
    assert name["x"] < figures["x"]
    with page.expect_download() as waiting:
        page.locator(".downloads").get_by_role("button", name="JSON", exact=True).click()
    waiting.value.save_as(tmp_path / "mask.json")
    assert [entry["name"] for entry in json.loads((tmp_path / "mask.json").read_text())["labels"]] == labels


def test_the_page_in_german(browser: Browser, app_url: str) -> None:
    with visiting(browser, app_url, locale="de-DE") as visitor:
        page = visitor.page
        visitor.open()
        assert page.locator("html").get_attribute("lang") == "de"
        page.locator(".gallery button", has_text="Village").click()
        visitor.settled()
        assert page.get_by_role("heading", name="Legende").is_visible()
        assert "," in page.locator(".legend td.score").first.inner_text()
        assert page.locator(".in-words").inner_text().startswith("Die Maske: ")
        visitor.choose(("seite.pdf", b"%PDF-1.7"))
        visitor.wait_for_fault("Diese Datei ist kein Bild, das der Server liest.")
        page.get_by_label("Sprache").select_option("en")
        visitor.wait_for_fault("This file is not a picture that the server reads.")
        assert page.get_by_role("heading", name="Labels", exact=True).is_visible()
        page.reload()
        assert page.locator("html").get_attribute("lang") == "en"


def test_german_has_room_on_a_phone(browser: Browser, app_url: str) -> None:
    """Its words are longer."""
    with visiting(browser, app_url, **{**PHONE, "locale": "de-DE"}) as visitor:
        page = visitor.page
        visitor.open()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]
        page.locator(".gallery button", has_text="Village").click()
        visitor.settled()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]
        cut = page.locator("button:visible, .segmented span:visible").evaluate_all(
            "nodes => nodes.filter(node => node.scrollWidth > node.clientWidth + 1).map(node => node.textContent)"
        )
        assert cut == []
