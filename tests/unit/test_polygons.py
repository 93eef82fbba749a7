"""Polygons are the region: exactly at tolerance 0, within the tolerance above it, holes apart from shells."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lseg_serve.demo.draw_gallery import GALLERY, SEEDS
from lseg_serve.handler.formats.polygons import Polygon, Ring, polygons
from lseg_serve.segmenter import Segmenter
from tests.conftest import PROJECT
from tests.support.shapes import Bits, every_shape


def filled(shapes: list[Polygon], height: int, width: int) -> Bits:
    """The pixels whose centres lie within, by the even-odd rule, from where each row of centres crosses an edge."""
    crossings = np.zeros((height, width + 1), np.int64)
    for (x, y), (next_x, next_y) in (
        edge for polygon in shapes for ring in polygon for edge in itertools.pairwise(ring)
    ):
        if y == next_y:
            continue
        (x, y), (next_x, next_y) = sorted([(x, y), (next_x, next_y)], key=lambda point: point[1])
        rows = np.arange(y, next_y)
        at = x + (rows + 0.5 - y) * (next_x - x) / (next_y - y)
        np.add.at(crossings, (rows, np.ceil(at - 0.5).astype(int)), 1)
    inside: Bits = np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1
    return inside


def _twice_area(ring: Ring) -> int:
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in itertools.pairwise(ring))


def _count(bits: Bits, connectivity: int = 4) -> int:
    return int(cv2.connectedComponents(bits.astype(np.uint8), connectivity=connectivity)[0]) - 1


@every_shape
def test_at_tolerance_0_they_are_the_pixels(bits: Bits) -> None:
    np.testing.assert_array_equal(filled(polygons(bits, 0), *bits.shape), bits)


@every_shape
def test_each_part_has_its_shell_and_its_holes(bits: Bits) -> None:
    """Alone, each polygon fills to one part of the region; its shell to that part without holes."""
    _, parts = cv2.connectedComponents(bits.astype(np.uint8), connectivity=4)
    shapes = polygons(bits, 0)
    assert len(shapes) == _count(bits)
    for shape in shapes:
        pixels = filled([shape], *bits.shape)
        (part,) = np.unique(parts[pixels])
        np.testing.assert_array_equal(pixels, parts == part)
        whole = filled([shape[:1]], *bits.shape)
        assert _count(~np.pad(whole, 1)) == 1, "a shell has no hole"
        assert (filled([[hole] for hole in shape[1:]], *bits.shape) == whole & ~pixels).all()


@every_shape
def test_rings_are_simple_closed_and_turn_by_their_kind(bits: Bits) -> None:
    for shape in polygons(bits, 0):
        for place, ring in enumerate(shape):
            assert ring[0] == ring[-1]
            assert len({tuple(point) for point in ring}) == len(ring) - 1, "a ring touches itself"
            assert (_twice_area(ring) > 0) == (place == 0), "a shell runs clockwise on the screen, a hole does not"


@every_shape
@pytest.mark.parametrize("tolerance", [0.5, 0.75, 3, 100])
def test_no_point_of_the_outline_is_farther_than_the_tolerance(bits: Bits, tolerance: float) -> None:
    exact = [ring for shape in polygons(bits, 0) for ring in shape]
    simple = [ring for shape in polygons(bits, tolerance) for ring in shape]
    assert len(exact) == len(simple)
    for ring, fewer in zip(exact, simple, strict=True):
        assert len(fewer) >= 4
        assert {tuple(point) for point in fewer} <= {tuple(point) for point in ring}
        ends = np.array(list(itertools.pairwise(fewer)), float)
        assert max(_distance(np.array(point, float), ends) for point in ring) <= tolerance + 1e-6


def _distance(point: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]) -> float:
    """From `point` [2] to the nearest of line segments [N, 2, 2]."""
    start, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    share = np.clip(((point - start) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-9), 0, 1)
    return float(np.linalg.norm(start + share[:, None] * along - point, axis=1).min())


@pytest.fixture(scope="module")
def gallery() -> dict[str, npt.NDArray[np.uint8]]:
    """The bundled model's masks of the pictures of the gallery."""
    weights, labels = PROJECT / "demo" / "weights" / "lseg-scenes.safetensors", PROJECT / "demo" / "labels.txt"
    segmenter = Segmenter.load(weights)
    names = labels.read_text(encoding="utf-8").split("\n")
    masks = {}
    for name in SEEDS:
        with Image.open(GALLERY / f"{name}.jpg") as picture:
            masks[name] = segmenter.segment(np.asarray(picture), [one for one in names if one]).mask
    return masks


@pytest.mark.parametrize("name", SEEDS)
def test_of_the_gallery_the_default_tolerance_keeps_each_label(
    name: str, gallery: dict[str, npt.NDArray[np.uint8]]
) -> None:
    mask = gallery[name]
    corners = {0.0: 0, 0.75: 0}
    for index in np.unique(mask):
        bits = mask == index
        shapes = polygons(bits)
        assert shapes == polygons(bits, 0.75)
        found = filled(shapes, *bits.shape)
        assert (found & bits).sum() / (found | bits).sum() >= 0.98, index
        for tolerance in corners:
            corners[tolerance] += sum(len(ring) for shape in polygons(bits, tolerance) for ring in shape)
    assert corners[0.75] < 0.8 * corners[0.0]
