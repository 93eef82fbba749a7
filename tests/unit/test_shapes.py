"""The shapes that reach a device that compiles each: few, enough for everything, and with the least padding."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import pytest

from lseg_serve.model import Architecture
from lseg_serve.segmenter.config import AccurateParams, Config, HpuParams, StaticImageSizeParams
from lseg_serve.segmenter.engine.shapes import (
    Graph,
    ImageGraph,
    ScoreGraph,
    Shapes,
    TextGraph,
    bounded_shapes,
    feature_pixels,
    label_buckets,
    split,
)
from lseg_serve.segmenter.errors import ConfigError
from lseg_serve.segmenter.preprocessing.buckets import Bucket, make_buckets
from tests.conftest import PROJECT

WINDOW = Bucket(480, 480)


def _plan(**changes: object) -> Shapes:
    return bounded_shapes(Config(**changes), Architecture())  # type: ignore[arg-type]


def _with_most(graphs: int, *batches: int) -> Shapes:
    return _plan(hpu=HpuParams(max_graphs=graphs, batch_sizes=batches or (1, 4)))


def test_the_published_configuration_takes_22_graphs_for_both_modes() -> None:
    graphs = _plan().graphs()
    assert len(graphs) == len(set(graphs)) == 22
    # 5 images sizes at 2 batch sizes, 5 numbers of labels at 2 batch sizes, 2 lengths of text.
    assert sum(isinstance(graph, ImageGraph) for graph in graphs) == 5 * 2
    assert sum(isinstance(graph, ScoreGraph) for graph in graphs) == 5 * 2
    assert sum(isinstance(graph, TextGraph) for graph in graphs) == 2


def test_a_window_of_its_own_size_is_one_more_image_size() -> None:
    shapes = _plan(hpu=HpuParams(max_graphs=40), accurate=AccurateParams(crop_size=512))
    assert shapes.image_buckets() == (*shapes.buckets, Bucket(512, 512))


def test_single_images_come_first() -> None:
    graphs = _plan().graphs()
    batches = [graph.batch for graph in graphs if not isinstance(graph, TextGraph)]
    assert batches == sorted(batches)


@pytest.mark.parametrize("most_images", [None, 1, 3, 8])
def test_everything_has_a_shape_that_is_listed_and_nothing_else_is(most_images: int | None) -> None:
    shapes = bounded_shapes(Config(), Architecture(), most_images)
    asked: set[Graph] = set()
    images = range(1, 20 if most_images is None else most_images + 1)
    whole = ((bucket, shapes.split_images(count)) for bucket in shapes.buckets for count in images)
    windows = ((shapes.window, shapes.split_windows(count)) for count in range(1, 100))
    for bucket, batches in (*whole, *windows):
        for batch, labels in itertools.product(batches, range(1, 256)):
            asked.add(ImageGraph(bucket, batch))
            asked.add(ScoreGraph(batch, shapes.label_count(labels), shapes.pixel_count(bucket)))
    assert shapes.text_batch is not None
    asked |= {TextGraph(shapes.text_batch, shapes.token_count(tokens)) for tokens in range(2, 78)}
    assert asked == set(shapes.graphs())
    assert len(shapes.graphs()) == (18 if most_images == 1 else 22)


def test_more_graphs_pad_less_until_nothing_is_padded() -> None:
    """Feature maps of 480x480, 480x640 and 480x864 have three sizes, so one to three levels can be had."""
    waste = []
    for most in (22, 32, 42):
        shapes = _with_most(most)
        assert len(shapes.graphs()) == most
        waste.append(sum(shapes.pixel_count(bucket) - feature_pixels(bucket) for bucket in shapes.buckets))
    assert waste[0] > waste[1] > waste[2] == 0


@pytest.mark.parametrize("most", range(22, 60))
def test_the_bound_is_kept(most: int) -> None:
    assert len(_with_most(most).graphs()) <= most


def test_the_levels_are_the_best_of_all() -> None:
    sizes = StaticImageSizeParams(hw_ratios=((1, 1), (1, 2), (2, 3), (3, 4), (1, 3)), short_sizes=(96, 160))
    buckets = make_buckets(sizes)
    areas = sorted({feature_pixels(bucket) for bucket in (*buckets, WINDOW)})
    for most in (25, 30, 40, 60):
        shapes = _plan(static_image_size_params=sizes, hpu=HpuParams(max_graphs=most, batch_sizes=(1,)))
        assert shapes.pixels is not None
        best = min(
            _padded(areas, (*levels, areas[-1]))
            for levels in itertools.combinations(areas[:-1], len(shapes.pixels) - 1)
        )
        assert _padded(areas, shapes.pixels) == best


def _padded(areas: list[int], levels: tuple[int, ...]) -> int:
    return sum(next(level for level in levels if level >= area) - area for area in areas)


def test_a_bound_that_cannot_be_kept_is_refused_with_what_could() -> None:
    with pytest.raises(ConfigError, match=r"hpu\.max_graphs is 21, .* at least 22 graphs; accepted: 22 or more"):
        _with_most(21)


@pytest.mark.parametrize(
    ("batches", "count", "expected"),
    [
        ((1,), 3, [1, 1, 1]),
        ((1, 4), 1, [1]),
        ((1, 4), 2, [1, 1]),
        ((1, 4), 3, [4]),
        ((1, 4), 5, [4, 1]),
        ((1, 4), 7, [4, 4]),
        ((4,), 1, [4]),
        ((1, 2, 4, 8), 7, [8]),
        ((1, 2, 4, 8), 11, [8, 4]),
        ((1, 4), 0, []),
    ],
)
def test_images_are_split_into_the_cheapest_batches(batches: tuple[int, ...], count: int, expected: list[int]) -> None:
    assert split(count, batches) == expected


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [(20, 255, (20, 40, 80, 160, 255)), (20, 20, (20,)), (20, 7, (7,)), (1, 4, (1, 2, 4)), (255, 255, (255,))],
)
def test_label_buckets_double(least: int, most: int, expected: tuple[int, ...]) -> None:
    assert label_buckets(least, most) == expected


def test_a_short_text_tower_has_short_token_buckets() -> None:
    shapes = bounded_shapes(Config(), replace(Architecture(), context_length=12))
    assert shapes.tokens == (12,)


def test_the_one_size_of_other_devices_is_not_a_lazy_cards() -> None:
    size = {"dynamic_image_hw": (360, 480)}
    assert len(_plan(hpu_mode="lazy", **size).buckets) == 5
    assert _plan(hpu_mode="eager", **size).buckets == (Bucket(352, 480),)


def test_the_plan_is_printed() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "segmenter", "buckets", "--size", "300x400", "--size", "6000x16"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "18 graphs, of at most 22" in run.stdout
    assert "score 25920 pixels labels 255 batch 4" in run.stdout
    assert "image 480x480 batch 4" in run.stdout and "image 480x640 batch 4" not in run.stdout
    assert [line.split()[:2] for line in run.stdout.splitlines() if "00x" in line and "MB" not in line][:2] == [
        ["300x400", "480x640"],
        ["6000x16", "864x480"],
    ]


@pytest.mark.parametrize("size", ["300", "0x5", "axb", "300x400x2"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "segmenter", "buckets", "--size", size],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 3
    assert run.stderr.endswith(f": --size is {size!r}; accepted: height x width in pixels, such as 480x640\n")
