"""Pictures into the page, and results out of it: drop, paste, several at once; files, commands, links."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser

from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.support.chromium import Visitor, colours, legend_of, visiting
from tests.support.pictures import encoded, gradient

CAT = PROJECT / "demo" / "photos" / "cat.jpg"
COFFEE = PROJECT / "demo" / "photos" / "coffee.jpg"
LABELS = ["cat", 'it\'s "other"', "traffic light, red"]
SECONDS = 120
_TRANSFER = """([kind, files]) => {
    const data = new DataTransfer();
    for (const [name, content] of files) {
        const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
        data.items.add(new File([bytes], name));
    }
    const options = {bubbles: true, cancelable: true};
    const event = kind === 'paste' ? new ClipboardEvent('paste', {...options, clipboardData: data})
        : new DragEvent(kind, {...options, dataTransfer: data});
    document.body.dispatchEvent(event);
}"""


def _transfer(visitor: Visitor, kind: str, *files: Path) -> None:
    """Drop or paste files."""
    contents = [(file.name, base64.b64encode(file.read_bytes()).decode()) for file in files]
    visitor.page.evaluate(_TRANSFER, [kind, contents])


def _mask(endpoint: LocalServer, image: bytes, labels: list[str], **fields: str) -> requests.Response:
    url = f"{endpoint.addresses.inference_url}/predictions/lseg"
    form = {"labels": json.dumps(labels), **fields}
    answer = requests.post(url, files={"image": image}, data=form, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(visitor: Visitor, endpoint: LocalServer, kind: str) -> None:
    if kind == "drop":
        _transfer(visitor, "dragover", CAT)
        assert visitor.page.locator(".drop").is_visible()
    _transfer(visitor, kind, CAT)
    visitor.write(*LABELS)
    visitor.wait_for_mask(LABELS)
    assert visitor.page.locator(".drop").count() == 0
    assert np.array_equal(visitor.canvas(), colours(_mask(endpoint, CAT.read_bytes(), LABELS).content))


def test_several_pictures_at_once_are_all_done_and_taken_along(
    visitor: Visitor, endpoint: LocalServer, tmp_path: Path
) -> None:
    village = PROJECT / "demo" / "pictures" / "village.jpg"
    _transfer(visitor, "drop", CAT, COFFEE, village)
    visitor.write("sky", "other")
    page = visitor.page
    page.wait_for_function("() => document.querySelectorAll('.strip li[data-state=done]').length === 3")
    # Another one of the strip is shown with its own mask, which is at hand.
    page.wait_for_timeout(500)
    page.get_by_role("button", name="coffee.jpg, done").click()
    page.wait_for_function("() => document.querySelector('canvas.mask')?.width === 600")
    expected = {
        file.stem: _mask(endpoint, file.read_bytes(), ["sky", "other"]).content for file in (CAT, COFFEE, village)
    }
    assert np.array_equal(visitor.canvas(), colours(expected["coffee"]))
    with page.expect_download() as waiting:
        page.get_by_role("button", name="All 3 masks").click()
    waiting.value.save_as(tmp_path / "masks.zip")
    with zipfile.ZipFile(tmp_path / "masks.zip") as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(
            name for stem in expected for name in (f"{stem}.mask.png", f"{stem}.json")
        )
        for stem, mask in expected.items():
            assert np.array_equal(colours(archive.read(f"{stem}.mask.png")), colours(mask))
            assert json.loads(archive.read(f"{stem}.json"))["labels"] == ["sky", "other"]
    page.get_by_role("button", name="Close coffee.jpg").click(force=True)
    assert page.locator(".strip li[data-state=done]").count() == 2


def test_a_kind_that_the_browser_cannot_show_is_drawn_by_the_server(visitor: Visitor) -> None:
    pixels = gradient(60, 80)
    visitor.choose(("scan.tif", encoded(pixels, "TIFF")))
    visitor.write("sky", "other")
    visitor.wait_for_mask(["sky", "other"])
    visitor.page.wait_for_function("() => document.querySelector('.sheet img')?.naturalWidth === 80")
    data = visitor.page.evaluate(
        """() => {
            const image = document.querySelector('.sheet img');
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext('2d').drawImage(image, 0, 0);
            return canvas.toDataURL('image/png');
        }"""
    )
    shown = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGB")
    assert np.array_equal(np.asarray(shown), pixels)


_TRACKS = """
    window.tracks = [];
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await ask(wanted);
        window.tracks.push(...stream.getTracks());
        return stream;
    };
"""  # notes the camera's tracks, which the page must end


def test_a_photo_is_taken_by_the_camera(browser: Browser, app_url: str) -> None:
    with visiting(browser, app_url, permissions=["camera"]) as visitor:
        page = visitor.page
        page.add_init_script(_TRACKS)
        visitor.open()
        running = "() => document.querySelector('dialog.camera video')?.videoWidth > 0"
        ended = "() => window.tracks.length > 0 && window.tracks.every(track => track.readyState === 'ended')"
        page.get_by_role("button", name="Photograph").click()
        page.wait_for_function(running)
        page.keyboard.press("Escape")  # closed without a photo: the camera is off, the button has the focus again
        page.wait_for_selector("dialog.camera", state="detached")
        page.wait_for_function(ended)
        assert page.evaluate("document.activeElement.textContent") == "Photograph"
        page.keyboard.press("Enter")
        page.wait_for_function(running)
        size = page.locator("dialog.camera video").evaluate("node => [node.videoWidth, node.videoHeight]")
        page.get_by_role("button", name="Take the picture").click()
        visitor.write("sky", "other")
        visitor.wait_for_mask(["sky", "other"])
        page.wait_for_function(ended)
        assert page.locator("canvas.mask").evaluate("node => [node.width, node.height]") == size
        assert page.locator("dialog").count() == 0


def test_a_camera_that_is_refused_is_told(browser: Browser, app_url: str) -> None:
    with visiting(browser, app_url, permissions=["clipboard-read"]) as visitor:
        visitor.open()
        visitor.page.get_by_role("button", name="Photograph").click()
        alert = visitor.page.locator("dialog.camera [role=alert]")
        alert.wait_for()
        assert alert.inner_text() == "The camera is not available."
        visitor.page.get_by_role("button", name="Close").click()
        visitor.page.wait_for_selector("dialog.camera", state="detached")


def test_every_file_is_the_endpoints(visitor: Visitor, endpoint: LocalServer, tmp_path: Path) -> None:
    visitor.choose(CAT)
    visitor.write(*LABELS)
    visitor.wait_for_mask(LABELS)
    visitor.page.get_by_label("Mask opacity").fill("0.7")
    files = {}
    for name in ("Mask", "Overlay", "JSON", "Zip"):
        with visitor.page.expect_download() as waiting:
            visitor.page.locator(".downloads").get_by_role("button", name=name, exact=True).click()
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
        files[name] = path
    assert [path.name for path in files.values()] == [
        "cat-mask.png",
        "cat-overlay.png",
        "cat-mask.json",
        "cat-parts.zip",
    ]
    image = CAT.read_bytes()
    mask = _mask(endpoint, image, LABELS).content
    overlay = np.asarray(Image.open(io.BytesIO(_mask(endpoint, image, LABELS, format="overlay", alpha="0.7").content)))
    assert files["Mask"].read_bytes() == mask
    assert np.array_equal(np.asarray(Image.open(files["Overlay"])), overlay)
    expected = _mask(endpoint, image, LABELS, format="json").json()
    assert json.loads(files["JSON"].read_text())["labels"] == expected["labels"]
    with zipfile.ZipFile(files["Zip"]) as archive:
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(archive.read("overlay.png")))), overlay)


@pytest.mark.parametrize("from_gallery", [True, False])
def test_copied_commands_run_as_they_are(
    browser: Browser, app_url: str, endpoint: LocalServer, tmp_path: Path, from_gallery: bool
) -> None:
    name = "cat.jpg" if from_gallery else 'a "cat\'s" photo \\1.jpg'
    with visiting(browser, app_url, permissions=["clipboard-read", "clipboard-write"]) as visitor:
        visitor.open()
        if from_gallery:
            visitor.open_gallery("Cat")
        else:
            (tmp_path / name).write_bytes(CAT.read_bytes())
            visitor.choose((name, CAT.read_bytes()))
        visitor.write(*LABELS)
        visitor.page.get_by_label("Threshold").fill("0.4")
        visitor.wait_for_mask(LABELS, threshold=0.4)
        copied = {}
        for kind in ("curl", "Python"):
            visitor.page.locator(".downloads").get_by_role("button", name=kind).click()
            visitor.page.wait_for_function(f"() => document.querySelector('.notice').textContent === '{kind} copied'")
            copied[kind] = visitor.page.evaluate("navigator.clipboard.readText()")
    expected = _mask(endpoint, CAT.read_bytes(), LABELS, threshold="0.4").content
    commands = {"curl": ["sh", "-euc", copied["curl"]], "Python": [sys.executable, "-c", copied["Python"]]}
    for kind, command in commands.items():
        (tmp_path / "mask.png").unlink(missing_ok=True)
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert run.returncode == 0, f"{kind}: {run.stderr}\n{copied[kind]}"
        assert (tmp_path / "mask.png").read_bytes() == expected
        if kind == "Python":
            printed = [line.split(" ", 2) for line in run.stdout.splitlines()]
            assert [[int(index), colour, label] for index, colour, label in printed] == [
                [entry["index"], entry["color"], entry["name"]] for entry in legend_of(expected)
            ]


def test_a_link_brings_back_labels_and_options(browser: Browser, app_url: str) -> None:
    with visiting(browser, app_url, permissions=["clipboard-read", "clipboard-write"]) as visitor:
        visitor.open()
        visitor.open_gallery("Cat")
        visitor.write(*LABELS)
        visitor.page.get_by_label("Threshold").fill("0.25")
        visitor.page.locator(".view-bar label", has_text="Outlines").click()
        visitor.wait_for_mask(LABELS, threshold=0.25)
        visitor.page.locator(".downloads").get_by_role("button", name="Link").click()
        visitor.page.wait_for_function("() => document.querySelector('.notice').textContent === 'Link copied'")
        link = visitor.page.evaluate("navigator.clipboard.readText()")
    with visiting(browser, app_url) as other:
        other.page.goto(link)
        other.wait_for_mask(LABELS, threshold=0.25)
        assert other.labels() == LABELS
        assert other.page.get_by_role("radio", name="Outlines").is_checked()
        assert other.page.locator("canvas.mask").evaluate("node => node.width") == 451
