"""The page's masks, in Chromium in front of a real TorchServe: exact, and changed without a request."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence

import numpy as np
import pytest
import requests
from PIL import Image

from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.support.chromium import Visitor, colours, legend_of
from tests.support.pictures import Pixels, encoded, gradient

VILLAGE = PROJECT / "demo" / "pictures" / "village.jpg"
LABELS = ["sky", "lawn", "cottage", "sheep", "other"]
SECONDS = 120
NONE = "\N{EN DASH}"


def _mask(endpoint: LocalServer, labels: Sequence[object], image: bytes | None = None, **fields: str) -> bytes:
    """The endpoint's own answer."""
    answer = requests.post(
        f"{endpoint.addresses.inference_url}/predictions/lseg",
        files={"image": VILLAGE.read_bytes() if image is None else image},
        data={"labels": json.dumps(labels), **fields},
        timeout=SECONDS,
    )
    assert answer.status_code == 200, answer.text
    return answer.content


def _only(mask_png: bytes, *shown: str) -> Pixels:
    """The colours of a mask with all labels but `shown` transparent."""
    pixels: Pixels = colours(mask_png).copy()
    entries = {entry["name"]: entry["index"] for entry in legend_of(mask_png)}
    with Image.open(io.BytesIO(mask_png)) as image:
        pixels[~np.isin(np.asarray(image), [entries[name] for name in shown])] = 0
    return pixels


def test_the_mask_is_the_endpoints_pixel_by_pixel(visitor: Visitor, endpoint: LocalServer) -> None:
    visitor.choose(VILLAGE)
    visitor.write(*LABELS)
    visitor.wait_for_mask(LABELS)
    assert np.array_equal(visitor.canvas(), colours(_mask(endpoint, LABELS)))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 400), (301, 257), (2000, 3000)])
def test_pictures_of_any_size_are_exact(visitor: Visitor, endpoint: LocalServer, height: int, width: int) -> None:
    image = encoded(gradient(height, width))
    visitor.choose(("gradient.png", image))
    visitor.write(*LABELS)
    visitor.wait_for_mask(LABELS)
    assert np.array_equal(visitor.canvas(), colours(_mask(endpoint, LABELS, image)))


def test_a_threshold_leaves_pixels_unlabelled(visitor: Visitor, endpoint: LocalServer) -> None:
    visitor.choose(VILLAGE)
    visitor.write(*LABELS)
    visitor.page.get_by_label("Threshold").fill("0.9")
    visitor.wait_for_mask(LABELS, threshold=0.9)
    expected = colours(_mask(endpoint, LABELS, threshold="0.9"))
    assert np.array_equal(visitor.canvas(), expected)
    share = float(np.mean(expected[..., 3] == 0))
    assert share > 0.01
    assert visitor.legend()["unlabelled"][0] == _percent(share)


def test_a_chip_may_hold_synonyms_and_words_a_sentence(visitor: Visitor, endpoint: LocalServer) -> None:
    group = "lawn | turf | street"
    labels = ["sky", group, "cottage", "other"]
    visitor.choose(VILLAGE)
    visitor.write(*labels)
    visitor.wait_for_mask(labels)
    sent: list[object] = ["sky", {"name": group, "any": ["lawn", "turf", "street"]}, "cottage", "other"]
    plain = _mask(endpoint, sent)
    assert [entry["name"] for entry in legend_of(plain)] == labels
    assert np.array_equal(visitor.canvas(), colours(plain))
    visitor.settled()
    assert set(labels) == set(visitor.legend())

    field = visitor.page.get_by_label("Sentence")
    field.fill("a photo of a")
    visitor.page.get_by_text("The sentence needs {} once").wait_for()
    assert np.array_equal(visitor.canvas(), colours(plain))
    field.fill("the red {}")
    visitor.wait_for_mask(labels, template="the red {}")
    visitor.page.get_by_text("The sentence needs {} once").wait_for(state="detached")
    in_sentence = _mask(endpoint, sent, template="the red {}")
    assert np.array_equal(visitor.canvas(), colours(in_sentence))
    assert in_sentence != plain
    visitor.page.reload()  # the address keeps labels and sentence
    visitor.choose(VILLAGE)
    visitor.wait_for_mask(labels, template="the red {}")
    assert visitor.page.get_by_label("Sentence").input_value() == "the red {}"
    assert visitor.labels() == labels


def test_accurate_mode_is_compared_with_fast_mode(visitor: Visitor, endpoint: LocalServer) -> None:
    visitor.choose(VILLAGE)
    visitor.write(*LABELS)
    visitor.page.get_by_label("Compare with").select_option(label="lseg · Accurate")
    visitor.wait_for_mask(LABELS, mode="accurate", layer="other")
    fast, accurate = (_mask(endpoint, LABELS, mode=mode) for mode in ("fast", "accurate"))
    assert np.array_equal(visitor.canvas("mask"), colours(fast))
    assert np.array_equal(visitor.canvas("other"), colours(accurate))
    indices = [np.asarray(Image.open(io.BytesIO(png))) for png in (fast, accurate)]
    agreement = float(np.mean(indices[0] == indices[1]))
    assert agreement < 1
    assert _percent(agreement) in visitor.page.locator(".agreement").inner_text()
    handle = visitor.page.get_by_role("slider", name="Where the two halves meet")
    before = visitor.page.locator("canvas[data-layer=other]").evaluate("node => node.style.clipPath")
    handle.press("ArrowRight")
    assert visitor.page.locator("canvas[data-layer=other]").evaluate("node => node.style.clipPath") != before


def test_nothing_is_asked_for_hovering_opacity_hiding_and_isolating(visitor: Visitor, endpoint: LocalServer) -> None:
    visitor.choose(VILLAGE)
    visitor.write(*LABELS)
    visitor.wait_for_mask(LABELS)
    visitor.settled()
    mask = _mask(endpoint, LABELS)
    before = len(visitor.sent)
    page = visitor.page
    for step in range(12):
        page.mouse.move(200 + 40 * step, 200 + 20 * step)
    page.get_by_label("Mask opacity").fill("0.3")
    assert page.locator("canvas.mask").evaluate("node => node.style.opacity") == "0.3"
    for view in ("Outlines", "Swipe", "Side by side", "Overlay"):
        page.click(f".view-bar >> text={view}")
    page.mouse.move(5, 5)
    page.locator(".isolate", has_text="sky").click()
    page.mouse.move(5, 5)
    assert np.array_equal(visitor.canvas(), _only(mask, "sky"))
    page.click("text=Show all")
    page.get_by_role("button", name="Show lawn in the mask").click()
    page.mouse.move(5, 5)
    assert np.array_equal(visitor.canvas(), _only(mask, *(label for label in LABELS if label != "lawn")))
    page.click("text=Show all")
    assert np.array_equal(visitor.canvas(), colours(mask))
    # The list of models is looked at now and then, and Chromium looks the page's icon up in its cache whenever the
    # address changes, which holds the view; nothing else may have been sent.
    later = [request.url for request in visitor.sent[before:]]
    assert [url for url in later if not url.startswith("blob:") and not url.endswith(("/api/models", ".svg"))] == []


@pytest.mark.parametrize(("size", "reach"), [((300, 451), 1), ((2400, 1600), 5)])
def test_outlines_are_the_borders_between_labels(
    visitor: Visitor, endpoint: LocalServer, size: tuple[int, int], reach: int
) -> None:
    """Of each label the pixels that have another one `reach` pixels above, below, left or right of them."""
    image = encoded(np.asarray(Image.open(VILLAGE).resize(size[::-1])))
    visitor.choose(("village.png", image))
    visitor.write(*LABELS)
    visitor.wait_for_mask(LABELS)
    visitor.page.click(".view-bar >> text=Outlines")
    visitor.page.wait_for_selector("canvas.mask[data-outlined=true]")
    mask = _mask(endpoint, LABELS, image)
    indices = np.asarray(Image.open(io.BytesIO(mask)))
    border = np.zeros(size, bool)
    for first, second in (
        (np.s_[reach:], np.s_[:-reach]),
        (np.s_[:, reach:], np.s_[:, :-reach]),
    ):
        differs = indices[first] != indices[second]
        border[first] |= differs
        border[second] |= differs
    assert 0.001 < border.mean() < 0.2
    assert np.array_equal(visitor.canvas(), colours(mask) * border[..., None])
    visitor.page.click(".view-bar >> text=Overlay")
    visitor.page.wait_for_selector("canvas.mask[data-outlined=false]")
    assert np.array_equal(visitor.canvas(), colours(mask))


def test_the_pointer_names_the_label_under_it(visitor: Visitor, endpoint: LocalServer) -> None:
    visitor.choose(VILLAGE)
    visitor.write(*LABELS)
    visitor.wait_for_mask(LABELS)
    visitor.settled()
    indices = np.asarray(Image.open(io.BytesIO(_mask(endpoint, LABELS))))
    box = visitor.page.locator(".sheet").bounding_box()
    assert box is not None
    for column, row in ((600, 30), (1000, 700), (60, 330), (120, 520)):
        visitor.page.mouse.move(
            box["x"] + (column + 0.5) * box["width"] / 1200, box["y"] + (row + 0.5) * box["height"] / 800
        )
        name = LABELS[indices[row, column]]
        readout = visitor.page.locator(".readout").inner_text()
        assert name in readout
        share, score = (re.sub(r"\s+", " ", text.strip()) for text in visitor.legend()[name])
        assert share in readout
        assert score in readout


def test_the_legend_has_the_endpoints_figures(visitor: Visitor, endpoint: LocalServer) -> None:
    labels = [*LABELS, "lighthouse"]
    visitor.choose(VILLAGE)
    visitor.write(*labels)
    visitor.wait_for_mask(labels)
    visitor.settled()
    answer = requests.post(
        f"{endpoint.addresses.inference_url}/predictions/lseg",
        files={"image": VILLAGE.read_bytes()},
        data={"labels": ",".join(labels), "format": "json"},
        timeout=SECONDS,
    ).json()
    legend = visitor.legend()
    for entry in answer["labels"]:
        share, score = (text.strip() for text in legend[entry["name"]])
        assert share == _percent(entry["share"])
        assert score == (NONE if entry["area"] == 0 else f"{entry['mean_score']:.2f}")
    names = list(legend)
    shares = [next(entry["share"] for entry in answer["labels"] if entry["name"] == name) for name in names]
    assert shares == sorted(shares, reverse=True)
    words = visitor.page.locator(".in-words").inner_text()
    # Names stand between signs that keep their direction apart from the sentence's.
    assert words.startswith(f"The mask: \u2068{names[0]}\u2069 {_percent(shares[0])}")
    visitor.page.get_by_role("button", name="Label", exact=True).click()
    assert list(visitor.legend()) == sorted(labels)


def _percent(share: float) -> str:
    """A share as the page writes it, in English."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{share * 100:.1f} %" if 0 < share < 0.0995 else f"{share * 100:.0f} %"
