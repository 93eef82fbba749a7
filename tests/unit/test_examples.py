"""The examples with the bundled model: a fused cloud, tracks and a search, each against the drawn truth."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lseg_serve.demo.posed import Camera, cameras_around, draw_views
from lseg_serve.demo.scenes import draw_scene
from lseg_serve.demo.vocabulary import CLASS_INDEX, LABELS, NO_COLOUR
from lseg_serve.examples import point_cloud, search, track
from lseg_serve.examples.source import bundled
from lseg_serve.segmenter import Segmenter
from tests.conftest import PROJECT


@pytest.fixture(scope="module")
def model() -> Segmenter:
    return bundled()


class TestDrawnWorld:
    """Depth and poses of the drawn views are exact."""

    def test_each_pixel_comes_back_to_its_place(self) -> None:
        camera = cameras_around(3)[0]
        (view,) = draw_views([camera])
        places, depth = camera.project(view.points())
        seen = np.isfinite(view.depth)
        rows, columns = np.nonzero(seen)
        np.testing.assert_allclose(places, np.stack([columns, rows], 1), rtol=0, atol=1e-4)
        np.testing.assert_allclose(depth, view.depth[seen], rtol=1e-5)

    def test_things_lie_where_they_were_put(self) -> None:
        (view,) = draw_views([Camera((-1.7, -1.9, 0))])
        points, classes = view.points(), view.classes[np.isfinite(view.depth)]
        car = points[(classes == CLASS_INDEX["car"]) & (points[:, 0] > -3.6) & (points[:, 0] < 0.2)]
        np.testing.assert_allclose(car[:, 2], 6.9, atol=1e-4)
        ground = np.isin(classes, [CLASS_INDEX["grass"], CLASS_INDEX["road"]])
        np.testing.assert_allclose(points[ground][:, 1], 0, atol=1e-4)
        road = points[classes == CLASS_INDEX["road"]]
        assert (road[:, 2].min() >= 5.6, road[:, 2].max() <= 8.6) == (True, True)
        assert view.colours[view.classes == CLASS_INDEX["tree"]].min() == NO_COLOUR

    def test_two_views_agree_on_what_both_see(self) -> None:
        first, second = draw_views([Camera((-2.0, -1.9, -1.0), 0.1), Camera((1.0, -1.9, -1.0), -0.1)])
        points, classes = first.points(), first.classes[np.isfinite(first.depth)]
        index, places = point_cloud.seen(second, points)
        column, row = np.rint(places).astype(int).T
        assert len(index) > 10_000
        assert np.mean(second.classes[row, column] == classes[index]) > 0.97  # all but outlines


@pytest.mark.slow
def test_the_fused_cloud_is_better_than_each_view(model: Segmenter, tmp_path: Path) -> None:
    figures = point_cloud.run(model, tmp_path, "red car")
    views = [name for name in figures if name.startswith("view")]
    assert len(views) == 7
    for name in views:
        assert figures[name.replace("view", "fused")] > figures[name]
    assert min(figures["mean"], figures["weighted"]) > np.mean([figures[name] for name in views])
    assert figures["is a car"] == 1
    assert abs(figures["x"] + 1.7) < 1.9 and abs(figures["z"] - 6.9) < 0.1
    with Image.open(tmp_path / "where.png") as picture:
        red = np.asarray(picture, dtype=np.int64)
    assert ((red[..., 0] - red[..., 1]) > 120).sum() > 500


@pytest.mark.slow
def test_a_thing_is_followed_past_another_and_while_it_is_hidden(model: Segmenter, tmp_path: Path) -> None:
    assert min(track.run(model, tmp_path, "red car")) > 0.7
    behind = track.run(model, tmp_path, "blue car")
    assert min(behind) < 0.2  # the red one is before it
    assert min(behind[-2:]) > 0.7
    with Image.open(tmp_path / "track.png") as picture:
        assert picture.size == (960, 720)


def test_regions_are_found_by_words_that_were_no_labels(model: Segmenter, tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="DuckDB is not installed (pip install 'lseg-serve[examples]')")
    search.draw(tmp_path / "scenes", 6)
    names = [label.name for label in LABELS]
    with search.Table(tmp_path / "regions.duckdb") as table:
        count = search.index(model, tmp_path / "scenes", table, names)
        assert count > 50
    with search.Table(tmp_path / "regions.duckdb") as table:
        for word, label in [
            ("meadow", "grass"),
            ("oak", "tree"),
            ("pedestrian", "person"),
            ("office tower", "skyscraper"),
        ]:
            (best, fit), (_, second) = table.find(model.embed_labels([word])[0], 2)
            assert fit >= second
            truth = draw_scene(7_000_000 + int(Path(best.image).stem), (480, 360)).classes
            left, top, width, height = best.box
            counts = Counter(truth[top : top + height, left : left + width].ravel().tolist())
            assert LABELS[counts.most_common(1)[0][0]].name == label, word
            np.testing.assert_allclose(np.linalg.norm(best.embedding), 1, atol=1e-5)
        everything = table.find(model.embed_labels(["cow"])[0], 10_000)
        fits = [fit for _, fit in everything]
        assert (len(everything), fits) == (count, sorted(fits, reverse=True))
        assert search.contact_sheet(everything[:5]).size == (960, 360)


def test_regions_have_the_mean_of_their_pixels(model: Segmenter) -> None:
    image = draw_scene(7_000_000, (480, 360)).image
    found, labels = model.embed(image), ("sky", "other")
    text = model.embed_labels(labels)
    regions = list(search.regions_of("a", found, labels, text))
    mask = found.segment(text)
    assert sum(region.share for region in regions) > 0.95
    first = max((one for one in regions if one.label == "sky"), key=lambda one: one.share)
    left, top, width, height = first.box
    assert np.mean(mask[top : top + height, left : left + width] == 0) > 0.3
    rows, columns = np.nonzero(mask == 0)
    whole = found.at(np.stack([columns, rows], 1)).mean(axis=0)
    assert first.embedding @ whole / np.linalg.norm(whole) > 0.99


def test_the_search_says_what_is_missing(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['duckdb'] = None\nfrom lseg_serve.examples.search import main\nmain(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, "index", str(tmp_path), "--table", str(tmp_path / "table")]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr == "the table needs DuckDB: pip install 'lseg-serve[examples]'\n"
