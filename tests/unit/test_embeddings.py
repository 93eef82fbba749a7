"""Embeddings equal their plain definition, in every mode, as a map and at points, and give back scores and masks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lseg_serve.embeddings import Embeddings, EmbeddingsFileError
from lseg_serve.model import Architecture, LSeg
from lseg_serve.segmenter import (
    Config,
    EmbedOptions,
    InvalidOptionError,
    Segmenter,
    StaticImageSizeParams,
    choose_bucket,
    resize_to_bucket,
)
from lseg_serve.segmenter.config import AccurateParams
from tests.support import plain_embeddings as plain
from tests.support.networks import SMALL, SMALL_RESNET, random_network
from tests.support.pictures import gradient, noise

LABELS = ("sky", "a cat", "tree", "other")
PARAMS = AccurateParams(scales=(0.75, 1.5), crop_size=96, base_size=104, stride=64)
SIZES = StaticImageSizeParams(short_sizes=(96,))
EXACT = EmbedOptions(dtype="float32")
TOLERANCE = 1e-5


def _segmenter(net: LSeg) -> Segmenter:
    return Segmenter(net, config=Config(device="cpu", accurate=PARAMS, static_image_size_params=SIZES))


def _picture(height: int, width: int) -> np.ndarray:
    return noise(height, width) // 2 + gradient(height, width) // 2


def _points(height: int, width: int, count: int = 300) -> np.ndarray:
    """Corners, edges, whole and fractional places."""
    generator = np.random.default_rng(0)
    some = generator.uniform(-0.5, (width - 0.5, height - 0.5), (count, 2))
    return np.vstack([[[0, 0], [width - 1, height - 1], [-0.5, height - 0.5]], np.rint(some[:50]).clip(0), some])


@pytest.fixture(scope="module", params=[SMALL, SMALL_RESNET], ids=["vit", "resnet"])
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    architecture: Architecture = request.param
    return _segmenter(random_network(architecture))


def _plain_fast(segmenter: Segmenter, image: np.ndarray) -> torch.Tensor:
    bucket = choose_bucket(segmenter.shapes.buckets, *image.shape[:2])
    return plain.fast(segmenter.net.pixel_embeddings, resize_to_bucket(image, bucket)[None], *image.shape[:2])


@pytest.mark.parametrize("size", [(75, 100), (100, 75), (300, 310), (20, 31)], ids=str)
def test_fast_embeddings_equal_the_plain_definition(size: tuple[int, int], segmenter: Segmenter) -> None:
    image = _picture(*size)
    expected = F.normalize(_plain_fast(segmenter, image), dim=0)
    found = segmenter.embed(image, options=EXACT)
    torch.testing.assert_close(torch.from_numpy(found.map()), expected, rtol=0, atol=TOLERANCE)
    bucket = choose_bucket(segmenter.shapes.buckets, *size)
    assert found.vectors.shape == (48, bucket.height // 4, bucket.width // 4)


def test_points_of_the_endpoint_and_of_a_stored_map_are_the_same(segmenter: Segmenter) -> None:
    image, points = _picture(75, 100), _points(75, 100)
    at = segmenter.embed_points(image, points, options=EXACT)
    stored = segmenter.embed(image, options=EXACT).at(points)
    np.testing.assert_allclose(at, stored, rtol=0, atol=TOLERANCE)
    whole = (points == np.rint(points)).all(axis=1) & (points >= 0).all(axis=1)
    x, y = points[whole].astype(int).T
    expected = F.normalize(_plain_fast(segmenter, image), dim=0)[:, y, x].T
    torch.testing.assert_close(torch.from_numpy(at[whole]), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(75, 100), (30, 170)], ids=str)
def test_accurate_points_equal_the_plain_definition(size: tuple[int, int], resize: str, segmenter: Segmenter) -> None:
    params = PARAMS.replaced(resize=resize)
    own = Segmenter(segmenter.net, config=segmenter.config.replaced(accurate=params))
    image = _picture(*size)
    expected = F.normalize(plain.accurate(segmenter.net.pixel_embeddings, image, **params.model_dump()), dim=0)
    x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    found = own.embed_points(image, np.stack([x.ravel(), y.ravel()], 1), options=replace(EXACT, mode="accurate"))
    torch.testing.assert_close(torch.from_numpy(found), expected.flatten(1).T, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("mode", ["fast", "accurate"])
def test_scores_recomputed_equal_those_of_npz(mode: str, segmenter: Segmenter) -> None:
    image = _picture(75, 100)
    found = segmenter.embed(image, labels=LABELS, options=replace(EXACT, mode=mode))
    expected = segmenter.segment(image, LABELS, mode=mode)
    np.testing.assert_allclose(found.scores(LABELS), expected.scores.numpy(), rtol=0, atol=2e-4)
    assert found.scores(LABELS).shape == tuple(expected.scores.shape)


def test_masks_recomputed_equal_those_of_the_endpoint_but_for_ties(segmenter: Segmenter) -> None:
    for size in [(75, 100), (200, 210), (20, 31)]:
        image = _picture(*size)
        found = segmenter.embed(image, options=EXACT)
        expected = segmenter.segment(image, LABELS)
        differ = found.segment(LABELS) != expected.mask
        print(f"{size}: {differ.mean():.2%} differ")
        assert differ.mean() < 1e-4
        fits = np.stack([found.similarity(label) for label in LABELS])
        best = np.sort(fits, axis=0)
        assert np.all(best[-1][differ] - best[-2][differ] < 1e-5)  # ties


@pytest.mark.parametrize("change", [{"scales": (1.0,)}, {"flip": False}, {"base_size": 80}, {"crop_size": 64}], ids=str)
def test_windows_are_those_of_the_options(change: dict[str, object], segmenter: Segmenter) -> None:
    params = PARAMS.replaced(**change, **({"stride": 42} if "crop_size" in change else {}))
    image, points = _picture(75, 100), _points(75, 100)[:1]
    options = EmbedOptions(mode="accurate", dtype="float32", **change)  # type: ignore[arg-type]
    expected = plain.accurate(segmenter.net.pixel_embeddings, image, **params.model_dump())[:, 0, 0]
    found = segmenter.embed_points(image, points, options=options)
    torch.testing.assert_close(torch.from_numpy(found[0]), F.normalize(expected, dim=0), rtol=0, atol=TOLERANCE)


def test_openscene_equals_a_second_implementation(segmenter: Segmenter) -> None:
    image, points = _picture(60, 80), _points(60, 80)
    expected = plain.openscene(segmenter.net.pixel_embeddings, image)
    options = replace(EXACT, preset="openscene")
    found = segmenter.embed(image, options=options)
    torch.testing.assert_close(torch.from_numpy(found.vectors), expected, rtol=0, atol=TOLERANCE)
    at = segmenter.embed_points(image, points, options=options)
    x, y = points.clip(0, (79, 59)).T
    torch.testing.assert_close(torch.from_numpy(at), plain.sampled(expected, x, y), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found.at(points), at, rtol=0, atol=TOLERANCE)


def test_vlmaps_equals_a_second_implementation() -> None:
    own, image, points = _segmenter(random_network(SMALL)), _picture(60, 80), _points(60, 80)
    expected = plain.vlmaps(own.net.pixel_embeddings, image)
    found = own.embed(image, options=EmbedOptions(preset="vlmaps"))
    assert found.vectors.shape == (48, 390, 520)
    unit = 0.07  # the vectors have the length 1 / 0.07, and float16 within as well as for the result
    assert np.abs(found.vectors - expected.numpy()).max() * unit < 1e-3
    at = own.embed_points(image, points, options=EmbedOptions(preset="vlmaps", dtype="float32"))
    x, y = points.clip(0, (79, 59)).T * [[519 / 79], [389 / 59]]
    assert np.abs(at - plain.sampled(expected, x, y).numpy()).max() * unit < 1e-3


def test_float16_loses_little(segmenter: Segmenter) -> None:
    image, points = _picture(75, 100), _points(75, 100)
    exact, half = (segmenter.embed(image, options=EmbedOptions(dtype=name)) for name in ("float32", "float16"))
    assert half.vectors.dtype == np.float16
    assert half.vectors.nbytes * 2 == exact.vectors.nbytes
    difference = np.abs(exact.at(points) - half.at(points)).max()
    print(f"float16: {difference:.1e}")
    assert difference < 5e-4
    assert np.mean(half.segment(segmenter.embed_labels(LABELS)) == exact.segment(LABELS)) > 0.99


@pytest.mark.parametrize("factor", [1e-6, 1e6], ids=["small", "large"])
def test_float16_holds_numbers_of_any_size(factor: float) -> None:
    net = random_network(SMALL)
    with torch.no_grad():
        net.head.weight.mul_(factor)
        assert net.head.bias is not None
        net.head.bias.mul_(factor)
    own, image = _segmenter(net), _picture(75, 100)
    points = _points(75, 100)
    found = own.embed(image).at(points)
    np.testing.assert_allclose(found, own.embed_points(image, points, options=EXACT), rtol=0, atol=5e-4)


def test_points_on_a_known_image_skip_the_network(segmenter: Segmenter) -> None:
    image = _picture(75, 104)
    calls: list[object] = []
    handle = segmenter.net.image_encoder.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        segmenter.segment(image, LABELS)
        segmenter.embed_points(image, [[1, 2]])
        segmenter.embed(image)
    finally:
        handle.remove()
    assert len(calls) == 1


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    "options", [EmbedOptions(), EmbedOptions(mode="accurate"), EmbedOptions(preset="openscene")], ids=str
)
def test_what_is_saved_is_read(options: EmbedOptions, suffix: str, tmp_path: Path, segmenter: Segmenter) -> None:
    found = segmenter.embed(_picture(60, 80), labels=LABELS, options=options)
    found.save(tmp_path / f"map{suffix}")
    read = Embeddings.load(tmp_path / f"map{suffix}")
    np.testing.assert_array_equal(read.vectors, found.vectors)
    np.testing.assert_array_equal(read.segment(LABELS), found.segment(LABELS))
    assert (read.labels, read.kind, read.about) == (LABELS, found.kind, found.about)
    with pytest.raises(ValueError, match="the embedding of 'dog' is not at hand"):
        read.similarity("dog")
    assert read.with_encode(segmenter.embed_labels).similarity("dog").shape == (60, 80)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\0" * 100, b"{}", b"\x93NUMPY"], ids=repr)
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(EmbeddingsFileError, match="no file of embeddings"):
        Embeddings.unpacked(content)


def test_no_torch_is_needed_to_ask_a_stored_map(tmp_path: Path, segmenter: Segmenter) -> None:
    segmenter.embed(_picture(60, 80), labels=LABELS).save(tmp_path / "map.npz")
    program = (
        "import sys; from lseg_serve.embeddings import Embeddings; found = Embeddings.load(sys.argv[1]);"
        "print(found.segment(found.labels).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "map.npz"], check=True, capture_output=True, text=True
    )
    assert done.stdout == "(60, 80) False\n"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0, 80]], r"point 1 is \[0, 80\]; accepted: x from -0.5 to 99.5, y from -0.5 to 74.5"),
        ([[0, 0], [float("nan"), 0]], r"point 2 is \[nan, 0\]; accepted: x from"),
        ([[0, float("inf")]], r"point 1 is \[0, inf\]"),
        ([[-0.6, 0]], r"point 1 is \[-0.6, 0\]"),
        ([[0, 0, 0]], r"point 1 is \[0, 0, 0\]; accepted: \[x, y\]"),
        ([["1", 2]], r"point 1 is \['1', 2\]"),
        ([[True, 2]], r"point 1 is \[True, 2\]"),
        ([[10**400, 2]], "a number that is too large"),
        ([], r"the shape \[0\]; accepted: \[N, 2\]"),
        ("x", "points is of type str"),
        (np.zeros((3, 3)), r"the shape \[3, 3\]"),
        (np.zeros((3, 2), dtype=object), "an array of object"),
        (np.zeros((100_001, 2)), r"there are 100001 points; accepted: up to 100000 \(max_points"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_points_are_refused(points: object, message: str, segmenter: Segmenter) -> None:
    with pytest.raises(InvalidOptionError, match=message) as caught:
        segmenter.embed_points(_picture(75, 100), points)
    assert caught.value.field == "points"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "best"}, "mode is 'best'; accepted: fast, accurate"),
        ({"preset": "clip"}, "preset is 'clip'; accepted: openscene, vlmaps"),
        ({"dtype": "int8"}, "dtype is 'int8'; accepted: float16, float32"),
        ({"scales": (1.0,)}, "scales is given in fast mode; accepted: with mode accurate"),
        ({"preset": "vlmaps", "flip": True}, "flip is given with a preset"),
        ({"preset": "vlmaps", "mode": "accurate"}, "mode is given with a preset"),
        ({"mode": "accurate", "scales": ()}, r"scales is \(\); accepted: a list of numbers above 0, up to 8"),
        ({"mode": "accurate", "crop_size": 50}, "crop_size is 50; accepted: a whole number from 32"),
        ({"mode": "accurate", "crop_size": "x"}, "crop_size is 'x'"),
        (
            {"mode": "accurate", "crop_size": 2080},
            r"crop_size is 2080; accepted: up to 2048 pixels \(max_embedding_side",
        ),
        ({"mode": "accurate", "base_size": 1400}, "base_size times the largest scale is 2100; accepted: up to 2048"),
        ({"mode": "accurate", "base_size": 1024, "crop_size": 32}, "passes of the network; accepted: up to 1000"),
    ],
    ids=str,
)
def test_options_that_are_not_accepted_are_named(
    options: dict[str, object], message: str, segmenter: Segmenter
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        segmenter.embed(_picture(75, 100), options=EmbedOptions(**options))  # type: ignore[arg-type]


def test_openscene_has_a_largest_image(segmenter: Segmenter) -> None:
    with pytest.raises(
        InvalidOptionError, match="openscene passes twice the image's side, 2400 pixels; accepted: up to"
    ):
        segmenter.embed(_picture(10, 1200), options=EmbedOptions(preset="openscene"))
