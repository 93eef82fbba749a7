"""Masks as PNGs: every label its colour, every pixel its index, and nothing painted where no label is."""

from __future__ import annotations

import colorsys
import io
import json

import numpy as np
import pytest
from PIL import Image

from lseg_serve.handler.formats.colors import hex_color, legend, palette
from lseg_serve.handler.formats.png import colored, mask_png, overlaid
from lseg_serve.segmenter import UNLABELLED
from tests.support.pictures import Pixels, noise

LABELS = ["sky", "猫", "café ☕", '"quoted", 100 %', "<b>&\\", "👩‍👩‍👧"]


def _mask(height: int = 30, width: int = 50, count: int = 6) -> Pixels:
    mask = np.random.default_rng(0).integers(0, count, (height, width)).astype(np.uint8)
    mask[3:9, 4:20] = UNLABELLED
    return mask


def test_no_two_indices_have_the_same_colour() -> None:
    assert palette().shape == (256, 3)
    assert palette().dtype == np.uint8
    assert len({tuple(colour) for colour in palette().tolist()}) == 256


def test_unlabelled_is_black_and_no_label_is() -> None:
    assert palette()[UNLABELLED].tolist() == [0, 0, 0]
    assert palette()[:UNLABELLED].max(axis=1).min() > 60


def test_neighbours_are_far_apart_in_hue() -> None:
    hues = np.array([colorsys.rgb_to_hsv(*(colour / 255))[0] for colour in palette()[:UNLABELLED]])
    steps = np.abs(np.diff(hues))
    assert np.minimum(steps, 1 - steps).min() > 0.3


def test_the_palette_cannot_be_changed_by_its_users() -> None:
    with pytest.raises(ValueError, match="read-only"):
        palette()[0, 0] = 1


@pytest.mark.parametrize("index", [0, 1, 100, 254, 255])
def test_hex_colours_are_the_palettes(index: int) -> None:
    assert bytes.fromhex(hex_color(index).removeprefix("#")) == palette()[index].tobytes()


def test_the_legend_lists_the_labels_in_their_order() -> None:
    assert legend(["b", "a"]) == [
        {"index": 0, "name": "b", "color": hex_color(0)},
        {"index": 1, "name": "a", "color": hex_color(1)},
    ]


@pytest.mark.parametrize("shape", [(30, 50), (1, 1), (1, 300), (257, 3)])
def test_pixel_values_of_the_mask_png_are_the_indices(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    image = Image.open(io.BytesIO(mask_png(mask, LABELS)))
    assert (image.format, image.mode) == ("PNG", "P")
    np.testing.assert_array_equal(np.asarray(image), mask)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette()[mask])


def test_pixel_values_stay_indices_where_few_of_them_occur() -> None:
    """Pillow may pack a palette image into fewer bits, or drop colours that are not used."""
    for value in (0, 1, 200, 255):
        image = Image.open(io.BytesIO(mask_png(np.full((9, 9), value, np.uint8), ["sky"])))
        assert np.unique(np.asarray(image)).tolist() == [value]


def test_the_mask_png_carries_its_legend_in_any_language() -> None:
    image = Image.open(io.BytesIO(mask_png(_mask(), LABELS)))
    image.load()
    found = json.loads(image.info["legend"])
    assert [entry["name"] for entry in found] == LABELS
    assert found == legend(LABELS)


def test_colours_stand_at_the_pixels_of_their_labels() -> None:
    mask = _mask()
    for index in (0, 5, UNLABELLED):
        assert (colored(mask)[mask == index] == palette()[index]).all()


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_the_overlay_mixes_colours_into_the_image_and_leaves_unlabelled_pixels(alpha: float) -> None:
    mask, image = _mask(), noise(30, 50)
    found = overlaid(image, mask, alpha)
    assert found.dtype == np.uint8
    expected = (1 - alpha) * image.astype(float) + alpha * palette()[mask]
    labelled = mask != UNLABELLED
    assert np.abs(found[labelled] - expected[labelled]).max() <= 1
    np.testing.assert_array_equal(found[~labelled], image[~labelled])


def test_an_overlay_without_alpha_is_the_image_and_with_all_of_it_the_colours() -> None:
    mask, image = _mask(), noise(30, 50)
    np.testing.assert_array_equal(overlaid(image, mask, 0), image)
    labelled = mask != UNLABELLED
    np.testing.assert_array_equal(overlaid(image, mask, 1)[labelled], palette()[mask[labelled]])


def test_the_overlay_leaves_the_image_it_was_given() -> None:
    image = noise(30, 50)
    before = image.copy()
    overlaid(image, _mask(), 1)
    np.testing.assert_array_equal(image, before)
