"""The page by keyboard alone, on a phone, by wheel and pointer, and for screen readers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import PROJECT
from tests.support.chromium import MILLISECONDS, Visitor, visiting
from tests.web.conftest import PHONE

AXE = PROJECT / "web" / "page" / "node_modules" / "axe-core" / "axe.min.js"
MOST_TABS = 60


def _tab_to(page: Page, selector: str) -> None:
    """Press the tabulator until the element has the focus."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} cannot be reached by the tabulator")


def test_the_keyboard_alone_from_opening_to_download(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    _tab_to(page, ".gallery button")
    page.keyboard.press("Enter")
    page.wait_for_selector("canvas.mask[data-question]")
    visitor.settled()
    # The picture has the focus: a cursor names what is under it, and shows it alone.
    page.keyboard.press("ArrowRight")
    spoken = page.locator(".readout[role=status]").inner_text()
    assert spoken.split("\n")[0] in visitor.labels()
    page.keyboard.press("Enter")
    assert page.locator(".legend tr[data-alone=true]").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("+")
    assert page.locator(".zoom-fit").inner_text() == "150 %"
    page.keyboard.press("0")
    assert page.locator(".zoom-fit").inner_text() == "100 %"
    # New labels: one is taken away, one is chosen from those that are known.
    _tab_to(page, ".chip-input")
    labels = visitor.labels()
    page.keyboard.press("Backspace")
    page.keyboard.type("lightho")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wanted = [*labels[:-1], "lighthouse"]
    assert visitor.labels() == wanted
    visitor.wait_for_mask(wanted)
    _tab_to(page, ".downloads button")
    with page.expect_download(timeout=MILLISECONDS) as waiting:
        page.keyboard.press("Enter")
    waiting.value.save_as(tmp_path / "mask.png")
    assert waiting.value.suggested_filename == "village-mask.png"
    assert (tmp_path / "mask.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(browser: Browser, app_url: str, scheme: str, options: dict[str, object]) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not here: `npm ci` in web/page installs it")
    with visiting(browser, app_url, color_scheme=scheme, bypass_csp=True, **options) as visitor:
        visitor.open()
        assert _violations(visitor.page) == []
        visitor.open_gallery()
        visitor.settled()
        visitor.page.keyboard.press("ArrowRight")
        assert _violations(visitor.page) == []
        visitor.page.locator(".view-bar label", has_text="Swipe").click()
        visitor.page.fill(".chip-input", "sk")
        visitor.choose(("text.png", b"no picture"))
        visitor.page.wait_for_selector(".fault")
        assert _violations(visitor.page) == []


def _violations(page: Page) -> list[str]:
    """What axe finds wrong: the rule, and where."""
    page.wait_for_timeout(400)  # colours are measured when they have stopped changing
    page.add_script_tag(path=AXE)
    found = json.loads(page.evaluate("axe.run().then(result => JSON.stringify(result.violations))"))
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]


def test_a_phone_shows_everything_in_its_width(browser: Browser, app_url: str) -> None:
    with visiting(browser, app_url, **PHONE) as visitor:
        visitor.open()
        visitor.open_gallery()
        visitor.settled()
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390
        canvas = visitor.page.locator("canvas.mask").bounding_box()
        assert canvas is not None
        assert canvas["x"] >= 0
        assert canvas["x"] + canvas["width"] <= 390.5
        # A tap names the label; two fingers zoom.
        box = visitor.page.locator(".viewer").bounding_box()
        assert box is not None
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        visitor.page.touchscreen.tap(*middle)
        visitor.page.wait_for_selector(".readout")
        visitor.page.evaluate(
            """([x, y]) => {
                const viewer = document.querySelector('.viewer');
                viewer.setPointerCapture = () => {};
                const send = (type, id, dx) => viewer.dispatchEvent(new PointerEvent(type, {
                    pointerId: id, pointerType: 'touch', clientX: x + dx, clientY: y, bubbles: true, button: 0}));
                send('pointerdown', 11, -20); send('pointerdown', 12, 20);
                send('pointermove', 11, -40); send('pointermove', 12, 40);
                send('pointerup', 11, -40); send('pointerup', 12, 40);
            }""",
            list(middle),
        )
        visitor.page.wait_for_function("() => document.querySelector('.zoom-fit').textContent.trim() === '200 %'")


def test_the_wheel_zooms_about_the_pointer_and_dragging_moves(visitor: Visitor) -> None:
    visitor.open_gallery()
    page = visitor.page
    box = page.locator(".viewer").bounding_box()
    assert box is not None
    x, y = round(box["x"] + box["width"] * 0.3), round(box["y"] + box["height"] * 0.4)

    def pixel() -> list[float]:
        """The pixel of the picture under the pointer."""
        place: list[float] = page.evaluate(
            """([x, y]) => {
                const box = document.querySelector('canvas.mask').getBoundingClientRect();
                return [(x - box.left) / box.width * 1200, (y - box.top) / box.height * 800];
            }""",
            [x, y],
        )
        return place

    before = pixel()
    page.mouse.move(x, y)
    for _ in range(6):
        page.mouse.wheel(0, -240)
    page.wait_for_function("() => parseInt(document.querySelector('.zoom-fit').textContent) > 400")
    assert np.allclose(pixel(), before, atol=1)
    sheet = page.locator(".sheet").bounding_box()
    page.mouse.down()
    page.mouse.move(x - 60, y - 30, steps=4)
    page.mouse.up()
    moved = page.locator(".sheet").bounding_box()
    assert sheet is not None
    assert moved is not None
    assert np.allclose([sheet["x"] - moved["x"], sheet["y"] - moved["y"]], [60, 30], atol=6)
    assert page.locator(".legend tr[data-alone=true]").count() == 0  # a drag chooses nothing


def test_a_pasted_list_is_split(visitor: Visitor) -> None:
    visitor.choose(PROJECT / "demo" / "photos" / "cat.jpg")
    for text, labels in {
        "sky, grass、tree": ["sky", "grass", "tree"],
        "- sky\n- building, edifice\n": ["sky", "building, edifice"],
        "1. sky\n2. grass": ["sky", "grass"],
        "sky,\ngrass,\ntree": ["sky", "grass", "tree"],
        "sky;grass\ttree\tSKY": ["sky", "grass", "tree"],
        "sky, tree|oak | OAK, oak": ["sky", "tree | oak"],
        "tree, tree | oak": ["tree | oak"],
        '["sky", ["tree", "oak"], {"name": "ground", "any": ["lawn", "turf"]}]': ["sky", "tree | oak", "lawn | turf"],
        '["traffic light, red", "sky"]': ["traffic light, red", "sky"],
    }.items():
        visitor.page.evaluate(
            """text => {
                const data = new DataTransfer();
                data.setData('text/plain', text);
                const event = new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true});
                document.querySelector('.chip-input').dispatchEvent(event);
            }""",
            text,
        )
        assert visitor.labels() == labels
        visitor.page.click("text=Clear")


def test_light_and_dark_are_remembered(visitor: Visitor) -> None:
    def ground() -> str:
        return str(visitor.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    light = ground()
    visitor.page.get_by_label("Light or dark").click()
    dark = ground()
    assert dark != light
    visitor.page.reload()
    assert ground() == dark
