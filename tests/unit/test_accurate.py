"""Accurate mode equals lang-seg's evaluation: by golden scores at full size, by a plain reference in every shape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lseg_serve.bench.naive import summed_scores
from lseg_serve.model import LSeg
from lseg_serve.segmenter import Config, Job, Segmenter
from lseg_serve.segmenter.config import AccurateParams
from lseg_serve.segmenter.devices import CpuDevice
from lseg_serve.segmenter.errors import ConfigError, InvalidOptionError
from lseg_serve.segmenter.masks.windows import scaled_size
from tests.conftest import PROJECT
from tests.support.networks import SMALL, random_network
from tests.support.pictures import gradient, noise

LABELS = ("sky", "a cat", "tree", "other")
# The published evaluation at a fifth of its size, with the same windows: some hang over, some are all padding.
SMALL_PARAMS = AccurateParams(crop_size=96, base_size=104, stride=64)
TOLERANCE = 2e-3


def _segmenter(net: LSeg, params: AccurateParams, batch_size: int = 1) -> Segmenter:
    device = CpuDevice()
    device.batch_sizes = (batch_size,)
    return Segmenter(net, config=Config(device="cpu", accurate=params), device=device)


def _expected(net: LSeg, image: np.ndarray, params: AccurateParams) -> Tensor:
    return summed_scores(lambda pixels: net.logits(pixels, LABELS), image, **params.model_dump())


@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
def test_scores_equal_the_golden_ones(resize: str, golden: Path, full_size_checkpoint: Callable[..., Path]) -> None:
    reference = np.load(golden / "clip_vitb32_384.npz")
    labels = json.loads(str(reference["meta"]))["labels"]
    config = Config(device="cpu", accurate=AccurateParams().replaced(resize=resize))
    segmenter = Segmenter.load(full_size_checkpoint("clip_vitb32_384"), config)
    found = segmenter.accurate_scores(reference["image"], labels).numpy()
    difference = np.abs(found[:, ::4, ::4] - reference[f"multi_{resize}_s4"]).max()
    print(f"{resize}: largest difference {difference:.1e}")
    assert difference < TOLERANCE


@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
@pytest.mark.parametrize(
    "size",
    [(75, 100), (100, 75), (90, 90), (30, 170), (400, 250), (1, 7), (104, 103)],
    ids=["4:3", "portrait", "square", "panorama", "larger", "tiny", "almost square"],
)
def test_scores_equal_the_plain_reference(size: tuple[int, int], resize: str, small_net: LSeg) -> None:
    params = SMALL_PARAMS.replaced(resize=resize)
    image = noise(*size) // 2 + gradient(*size) // 2
    found = _segmenter(small_net, params).accurate_scores(image, LABELS)
    torch.testing.assert_close(found, _expected(small_net, image, params), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "change",
    [{"flip": False}, {"scales": (1.0,)}, {"scales": (2.3, 0.2)}, {"stride": 96}, {"stride": 33}, {"base_size": 65}],
    ids=str,
)
def test_every_parameter_counts(change: dict[str, object], small_net: LSeg) -> None:
    params = SMALL_PARAMS.replaced(**change)
    image = gradient(70, 110)
    found = _segmenter(small_net, params).accurate_scores(image, LABELS)
    torch.testing.assert_close(found, _expected(small_net, image, params), rtol=0, atol=TOLERANCE)


def test_a_regularised_network_is_evaluated_as_lang_seg_would() -> None:
    net = random_network(replace(SMALL, arch_option=1, block_depth=2))
    image = noise(60, 130)
    found = _segmenter(net, SMALL_PARAMS).accurate_scores(image, LABELS)
    torch.testing.assert_close(found, _expected(net, image, SMALL_PARAMS), rtol=0, atol=TOLERANCE)


def test_images_of_a_batch_share_the_networks_calls(small_net: LSeg) -> None:
    """Three images, two modes, batches of five: the masks are those that each image has alone."""
    images = [noise(75, 100, seed=1), noise(100, 75, seed=2), gradient(90, 90)]
    together, alone = _segmenter(small_net, SMALL_PARAMS, batch_size=5), _segmenter(small_net, SMALL_PARAMS)
    shapes: list[tuple[int, ...]] = []
    handle = together.net.image_encoder.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    try:
        labels = [LABELS[: 2 + index] for index in range(len(images))]
        jobs = [Job(image, own, mode="accurate") for image, own in zip(images, labels, strict=True)]
        results = together.segment_batch([jobs[0], Job(images[0], LABELS), *jobs[1:]])
    finally:
        handle.remove()
    assert [result.mode for result in results] == ["accurate", "fast", "accurate", "accurate"]
    windows = 18 + 18 + 23
    assert shapes[1:] == [(5, 3, 96, 96)] * -(-2 * windows // 5)
    for result, image, own in zip([results[0], *results[2:]], images, labels, strict=True):
        expected = alone.segment(image, own, mode="accurate")
        assert result.labels == own
        assert np.mean(result.mask == expected.mask) > 0.999
        torch.testing.assert_close(result.scores, expected.scores, rtol=0, atol=1e-3)


def test_the_mask_is_the_highest_score_and_the_threshold_cuts_the_mean(small_net: LSeg) -> None:
    segmenter, image = _segmenter(small_net, SMALL_PARAMS), gradient(75, 100)
    scores = segmenter.accurate_scores(image, LABELS)
    confidence, best = (scores / 12).softmax(dim=0).max(dim=0)
    threshold = float(confidence.median())
    result = segmenter.segment(image, LABELS, threshold=threshold, mode="accurate")
    sure = (confidence >= threshold).numpy()
    assert np.mean((result.mask != 255) == sure) > 0.999
    assert np.mean(result.mask[sure] == best.numpy()[sure]) > 0.999
    assert result.scores.shape == (len(LABELS), 39, 52)  # half of the image at scale 1, 104 pixels wide


def test_the_text_is_encoded_once(small_net: LSeg) -> None:
    segmenter = _segmenter(small_net, SMALL_PARAMS)
    segmenter.segment(gradient(75, 100), LABELS, mode="accurate")
    assert segmenter.text_cache.counts.misses == len(LABELS)


def test_an_unknown_mode_is_refused(small_net: LSeg) -> None:
    with pytest.raises(InvalidOptionError, match="mode is 'best'; accepted: fast, accurate"):
        _segmenter(small_net, SMALL_PARAMS).segment(gradient(8, 8), LABELS, mode="best")


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((300, 451), 0.5, (173, 260)),
        ((300, 451), 1.75, (605, 910)),
        ((451, 300), 0.75, (390, 259)),
        ((4, 8), 0.625, (163, 325)),  # 162.5 is rounded up
        ((1, 5000), 0.5, (1, 260)),  # lang-seg fails here
    ],
)
def test_sides_are_scaled_as_lang_seg_does(size: tuple[int, int], scale: float, expected: tuple[int, int]) -> None:
    assert scaled_size(*size, 520, scale) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": []}, r"accurate\.scales is \[\]; accepted: a list of numbers above 0, up to 8"),
        ({"scales": [1, -1]}, r"accurate\.scales is \[1, -1\]"),
        ({"scales": 1}, r"accurate\.scales is 1"),
        ({"flip": "yes"}, r"accurate\.flip is 'yes'; accepted: true, false"),
        ({"crop_size": 500}, r"accurate\.crop_size is 500; accepted: a whole number from 32 to 4096, a multiple of 32"),
        ({"crop_size": "480"}, r"accurate\.crop_size is '480'; accepted: a whole number"),
        ({"base_size": 0}, r"accurate\.base_size is 0; accepted: a whole number from 32"),
        ({"stride": 481}, r"accurate\.stride is 481; accepted: a whole number from 1 to 480"),
        ({"resize": "bicubic"}, r"accurate\.resize is 'bicubic'; accepted: bilinear, nearest"),
        ({"scale": [1]}, r"unknown key 'lseg\.accurate\.scale'; accepted: base_size, crop_size"),
        (True, "accurate is True; accepted: scales, flip"),
    ],
    ids=str,
)
def test_what_is_not_accepted_is_named(values: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.from_mapping({"lseg": {"accurate": values}})


def test_the_packaged_configuration_is_the_published_evaluation() -> None:
    config = Config.from_file(PROJECT / "config" / "model-config.yaml")
    assert config.accurate == AccurateParams()
    assert config.mode == "fast"


# The kernel's own high-water mark, reset first: ru_maxrss would begin with what the parent process once held.
_24_MEGAPIXELS = """
from pathlib import Path
import numpy as np, psutil
from lseg_serve.segmenter import Config, Segmenter
from lseg_serve.segmenter.devices import CpuDevice
from tests.support.networks import SMALL, random_network
from tests.support.pictures import gradient

segmenter = Segmenter(random_network(SMALL), config=Config(device="cpu"), device=CpuDevice())
labels = [f"label {index}" for index in range(150)]
image = np.tile(gradient(490, 490), (10, 10, 1))
segmenter.segment(image[:200, :200], labels)
before = psutil.Process().memory_info().rss
Path("/proc/self/clear_refs").write_text("5")
mask = segmenter.segment(image, labels, mode="accurate").mask
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
assert mask.shape == (4900, 4900)
print(int(peak.split()[1]) * 1024 - before)
"""


@pytest.mark.slow
def test_24_megapixels_with_150_labels_stay_below_2_gb() -> None:
    """A square, which takes the most windows. Beside the network's own activations, which its size decides."""
    command = [sys.executable, "-c", _24_MEGAPIXELS]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # on busy cores several mostly wait for each other
    run = subprocess.run(command, cwd=PROJECT, env=one_thread, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    growth = int(run.stdout)
    print(f"peak memory grew by {growth / 1e9:.2f} GB")
    assert growth < 2e9
