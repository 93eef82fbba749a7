"""The page in a real Chromium: a visitor who uses it, and what the browser sent meanwhile."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, Request

from tests.support.pictures import Pixels

MILLISECONDS = 30_000
_NAMES = ("chromium", "chromium-browser", "google-chrome")
# Without a window and a GPU, and without what a browser asks its maker for by itself. The camera is Chromium's own
# moving pattern, for pages that have the permission.
_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]


def chromium_path() -> str | None:
    """Where this machine has a Chromium; None: it has none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


def launch(playwright: Playwright) -> Browser:
    """A Chromium without a window. `chromium_path` must have found one."""
    return playwright.chromium.launch(executable_path=chromium_path(), headless=True, args=_OPTIONS)


class Visitor:
    """A tab of the page. It notes every request, and every error that the page's scripts report."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.sent: list[Request] = []
        self.errors: list[str] = []
        page.set_default_timeout(MILLISECONDS)
        page.on("request", lambda request: self.sent.append(request))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, fragment: str = "") -> None:
        """Load the page, with what the address has behind `#`."""
        self.page.goto(f"{self.url}/{fragment}")
        self.page.wait_for_selector(".gallery, .viewer")

    def masks_asked(self) -> int:
        """How often a mask was asked for until now."""
        return sum(request.method == "POST" for request in self.sent)

    def foreign(self) -> list[str]:
        """Addresses of other hosts than the page's that were asked for."""
        own = urlsplit(self.url).netloc
        urls = [urlsplit(request.url) for request in self.sent]
        return [url.geturl() for url in urls if url.scheme not in ("blob", "data") and url.netloc != own]

    def choose(self, *files: Path | tuple[str, bytes]) -> None:
        """Choose files in the page's dialog: paths, or names with contents."""
        payloads: list[Any] = []
        for file in files:
            name, content = (file.name, file.read_bytes()) if isinstance(file, Path) else file
            payloads.append({"name": name, "mimeType": "application/octet-stream", "buffer": content})
        self.page.set_input_files("[data-choose] >> nth=0", payloads)

    def open_gallery(self, title: str = "Village") -> None:
        """Open a picture of the gallery, which brings its labels along, and wait for the mask."""
        self.page.locator(".gallery button", has_text=title).click()
        self.page.wait_for_selector("canvas.mask[data-question]")

    def write(self, *labels: str) -> None:
        """Replace the labels of the page."""
        if self.page.locator(".chip").count():
            self.page.click("text=Clear")
        self.add(*labels)

    def add(self, *labels: str) -> None:
        """Write further labels."""
        for label in labels:
            # A comma or semicolon would end the label, but for one in a JSON list.
            self.page.fill(".chip-input", json.dumps([label]) if set(label) & set(",;") else label)
            self.page.press(".chip-input", "Enter")

    def wait_for_mask(
        self,
        labels: Sequence[str],
        mode: str = "fast",
        threshold: float = 0,
        layer: str = "mask",
        template: str = "",
    ) -> None:
        """Until the mask of just this question is painted."""
        self.page.wait_for_function(
            """([labels, mode, threshold, layer, template]) => {
                const question = document.querySelector(`canvas[data-layer=${layer}]`)?.dataset.question;
                const asked = JSON.stringify([labels, mode, threshold, template]);
                return question && JSON.stringify(JSON.parse(question).slice(1)) === asked;
            }""",
            arg=[list(labels), mode, threshold, layer, template],
        )

    def labels(self) -> list[str]:
        """The labels, by their chips."""
        return self.page.locator(".chip bdi").all_inner_texts()

    def canvas(self, layer: str = "mask") -> Pixels:
        """What is painted on a canvas of the viewer: RGBA [H, W, 4]."""
        data = self.page.evaluate(f"document.querySelector('canvas[data-layer={layer}]').toDataURL('image/png')")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGBA"))

    def wait_for_no_fault(self) -> None:
        """Until no fault is on show. One stays until its question is answered, also where an older mask is painted."""
        self.page.locator(".fault").wait_for(state="detached")

    def fault(self) -> str:
        """The title of the fault that is on show."""
        return self.page.locator(".fault h2").inner_text()

    def wait_for_fault(self, title: str) -> None:
        """Until the fault of this title is on show."""
        self.page.wait_for_function("title => document.querySelector('.fault h2')?.textContent === title", arg=title)

    def wait_for_state(self, state: str) -> None:
        """Until the model is in this state by the lamp in the page's head: ready, warming, no_worker or away."""
        self.page.wait_for_selector(f".model-state[data-state={state}]")

    def legend(self) -> dict[str, list[str]]:
        """The texts of each row of the legend, by the label: its share and its mean score."""
        rows = self.page.locator(".legend tbody tr").all()
        return {row.locator("th").inner_text(): row.locator("td").all_inner_texts()[1:] for row in rows}

    def settled(self) -> None:
        """Until the mean scores have come, after which the page asks for nothing more."""
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.legend td.score')].some(cell => /\\d/.test(cell.textContent))"
        )


@contextmanager
def visiting(browser: Browser, url: str, **context: Any) -> Iterator[Visitor]:
    """A fresh tab, in English unless `context` (Playwright's options of a context) says otherwise.

    At the end no script may have failed, and nothing may have been asked of a foreign host.
    """
    options = {"locale": "en-GB", "viewport": {"width": 1280, "height": 860}, **context}
    opened = browser.new_context(**options)
    try:
        visitor = Visitor(opened.new_page(), url)
        yield visitor
        assert visitor.errors == []
        assert visitor.foreign() == []
    finally:
        opened.close()


def colours(mask_png: bytes) -> Pixels:
    """A palette PNG in its colours, RGBA [H, W, 4], transparent where it is unlabelled."""
    with Image.open(io.BytesIO(mask_png)) as image:
        indices = np.asarray(image)
        rgb = np.asarray(image.convert("RGB"))
    return np.dstack([rgb, np.where(indices == 255, 0, 255).astype(np.uint8)])


def legend_of(mask_png: bytes) -> list[dict[str, Any]]:
    """The legend in a palette PNG."""
    with Image.open(io.BytesIO(mask_png)) as image:
        image.load()
        legend: list[dict[str, Any]] = json.loads(image.info["legend"])
    return legend
