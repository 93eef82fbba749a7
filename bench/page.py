"""The page in a real Chromium: from a key to the painted mask, and a large photo decoded and painted."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lseg_serve.bench.rows import Row
from lseg_serve.bench.scenes import exported
from lseg_serve.bench.setting import PROJECT, photo_at
from lseg_serve.server import LocalServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_VILLAGE = PROJECT / "demo" / "pictures" / "village.jpg"
_LABELS = ("sky", "lawn", "cottage", "other")
_LARGE = (4000, 3000)
_MILLISECONDS = 120_000
# Notes when a key or a pointer was pressed, and when the frame after the next painted mask was due.
_CLOCK = """() => {
    const now = () => { window.pressed = performance.now(); window.shown = null; };
    addEventListener('keydown', now, true);
    addEventListener('pointerdown', now, true);
    new PerformanceObserver(list => {
        const painted = list.getEntriesByName('lseg-painted');
        if (painted.length) requestAnimationFrame(() => setTimeout(() => { window.shown = performance.now(); }));
    }).observe({entryTypes: ['mark']});
}"""


def measure(folder: Path, runs: int) -> list[Row]:
    """Medians over `runs` of what a person waits for, with the bundled model behind the page's app.

    A key press counts up to the frame that follows the painted mask; decoding and painting from the last byte of the
    answer to the painted canvas.

    Raises:
        FileNotFoundError: there is no Chromium on this machine.
    """
    # Here and not at the top: Playwright is installed for development alone.
    from playwright.sync_api import sync_playwright

    path = next((found for name in _CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        raise FileNotFoundError(f"no Chromium on this machine; looked for {', '.join(_CHROMIUM)}")
    large = folder / "large.jpg"
    large.write_bytes(photo_at(*_LARGE).content)
    with _app(folder) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 860}, locale="en-GB")
        page.set_default_timeout(_MILLISECONDS)
        page.goto(url)
        page.evaluate(_CLOCK)
        rows = [_relabelled(page, runs)]
        rows += _large_photo(page, large, runs)
        browser.close()
    return rows


@contextmanager
def _app(folder: Path) -> Iterator[str]:
    """The address of the page's app, in front of a server with the bundled model; both in processes of their own."""
    archive = exported("float32", folder)
    server = LocalServer(folder / "run")
    server.start(archive.parent, [f"lseg={archive.name}"])
    try:
        server.wait_until_ready("lseg")
        addresses = server.addresses
        behind = f"default={addresses.inference_url},{addresses.management_url}"
        command = [sys.executable, "-m", "web", "--port", "0", "--server", behind]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as app:
            assert app.stdout is not None
            try:
                yield next(word for word in app.stdout.readline().split() if word.startswith("http"))
            finally:
                app.terminate()
    finally:
        server.stop()


def _relabelled(page: Page, runs: int) -> Row:
    """A further label, not asked for before, on a picture whose features are held: from Enter to the mask."""
    page.set_input_files("[data-choose] >> nth=0", _VILLAGE)
    for label in _LABELS:
        _add(page, label)
    _wait_for(page, len(_LABELS))
    waits = []
    for number in range(runs + 1):
        page.wait_for_timeout(700)  # the mean scores come when the page is at rest
        _add(page, f"thing {number}")
        _wait_for(page, len(_LABELS) + 1)
        waits.append(_waited(page))
        page.press(".chip-input", "Backspace")
        _wait_for(page, len(_LABELS))
    return _row("from Enter to the painted mask", waits[1:], image="1200x800", labels=len(_LABELS) + 1)


def _large_photo(page: Page, photo: Path, runs: int) -> list[Row]:
    """12 megapixels: the mask decoded and painted, and painted anew with one label alone."""
    page.set_input_files("[data-choose] >> nth=0", photo)
    page.wait_for_function("() => document.querySelector('canvas.mask')?.width === 4000")
    decoded, isolated = [], []
    for number in range(runs + 1):
        page.evaluate("performance.clearMarks()")
        _add(page, f"thing {number}")
        _wait_for(page, len(_LABELS) + 1)
        times = page.evaluate(
            "['lseg-received', 'lseg-painted'].map(name => performance.getEntriesByName(name).at(-1).startTime)"
        )
        decoded.append(times[1] - times[0])
        page.wait_for_timeout(700)
        page.locator(".legend .isolate").first.focus()
        page.keyboard.press("Enter")
        isolated.append(_waited(page))
        page.keyboard.press("Enter")
        page.press(".chip-input", "Backspace")
        _wait_for(page, len(_LABELS))
    size = f"{_LARGE[0]}x{_LARGE[1]}"
    return [
        _row("from the last byte to the painted mask", decoded[1:], image=size, labels=len(_LABELS) + 1),
        _row("from a key to one label alone", isolated[1:], image=size, labels=len(_LABELS) + 1),
    ]


def _add(page: Page, label: str) -> None:
    page.fill(".chip-input", label)
    page.press(".chip-input", "Enter")


def _wait_for(page: Page, labels: int) -> None:
    """Until the mask of so many labels is painted."""
    page.wait_for_function(
        """count => {
            const question = document.querySelector('canvas.mask')?.dataset.question;
            return question && JSON.parse(question)[1].length === count;
        }""",
        arg=labels,
    )


def _waited(page: Page) -> float:
    """Milliseconds from the last key to the frame after the mask."""
    page.wait_for_function("() => window.shown !== null")
    waited: float = page.evaluate("window.shown - window.pressed")
    return waited


def _row(note: str, milliseconds: list[float], **columns: object) -> Row:
    return Row(
        scenario="page",
        path="float32",
        where="browser",
        features="warm",
        text="cold",
        runs=len(milliseconds),
        median_ms=float(np.median(milliseconds)),
        p90_ms=float(np.quantile(milliseconds, 0.9)),
        fastest_ms=min(milliseconds),
        note=note,
        **columns,  # type: ignore[arg-type]
    )
