"""A CUDA GPU gives what the CPU gives: in batches, in bfloat16, from cached features, and after memory ran out."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest
import torch

from lseg_serve.demo.cache import FIRST_TEST_SEED, scene_size
from lseg_serve.demo.preset import IMAGE_SIZES
from lseg_serve.demo.scenes import draw_scene
from lseg_serve.demo.trials import NAMES
from lseg_serve.demo.weights_file import WEIGHTS
from lseg_serve.handler.pipeline import respond
from lseg_serve.handler.responses import ServerInfo
from lseg_serve.model import LSeg, read_checkpoint
from lseg_serve.segmenter import Job, Segmenter
from lseg_serve.segmenter.config import StaticImageSizeParams
from lseg_serve.segmenter.devices import CpuDevice, Device
from lseg_serve.segmenter.engine.feature_cache import feature_key
from tests.cuda.conftest import CONFIG, no_memory
from tests.gaudi import workload
from tests.support.networks import SMALL, random_network
from tests.support.pictures import encoded, noise

SERVER = ServerInfo("lseg", "1", "cuda-0", 10**9)


def _segmenter(device: Device, **changes: object) -> Segmenter:
    """The small network; the same weights each time."""
    return Segmenter(random_network(SMALL), config=CONFIG.replaced(**changes), device=device)


@pytest.mark.parametrize("mode", ["fast", "accurate"])
def test_batches_of_mixed_label_counts_equal_the_cpu(mode: str, gpu: Device) -> None:
    on_gpu, on_cpu = _segmenter(gpu), _segmenter(CpuDevice())
    jobs = workload.jobs(13, np.random.default_rng(0), mode)
    assert len({job.labels for job in jobs}) == len(jobs)
    largest, agreements = 0.0, []
    for found, expected in zip(on_gpu.segment_batch(jobs), on_cpu.segment_batch(jobs), strict=True):
        largest = max(largest, float((found.scores - expected.scores).abs().max()))
        agreements.append(workload.agreement(found, expected))
    print(f"{gpu.describe()}, {mode}: scores within {largest:.1e}, {min(agreements):.3%} of the pixels the same")
    assert largest < 2e-2  # cuDNN's convolutions round to TF32
    assert min(agreements) > 0.99
    assert sum(agreements) / len(agreements) > 0.998


def test_requests_of_every_kind_are_answered_in_batches(gpu: Device) -> None:
    segmenter = _segmenter(gpu)
    segmenter.warm_up()
    rng = np.random.default_rng(1)
    stream = workload.rows(60, rng, workload.images(10, rng), ("fast", "accurate"))
    statuses: Counter[int] = Counter()
    while batch := list(itertools.islice(stream, int(rng.integers(1, 9)))):
        statuses.update(one.status for one in respond(segmenter, batch, [{}] * len(batch), SERVER))
    assert statuses == {200: 60}


def test_bfloat16_gives_the_masks_of_float32(gpu: Device) -> None:
    config = CONFIG.replaced(static_image_size_params=IMAGE_SIZES)
    net = LSeg.from_tensors(read_checkpoint(WEIGHTS)).set_precision(torch.bfloat16)
    on_gpu, on_cpu = Segmenter(net, config=config, device=gpu), Segmenter.load(WEIGHTS, config)
    same = pixels = 0
    for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + 6):
        image = draw_scene(seed, scene_size(seed), held_out="exclude").image
        found, expected = (one.segment(image, NAMES).mask for one in (on_gpu, on_cpu))
        same, pixels = same + int((found == expected).sum()), pixels + found.size
    print(f"bfloat16 on {gpu.describe()}, float32 on the CPU: {same / pixels:.2%} of the pixels have the same label")
    assert 0.995 <= same / pixels < 1


def test_without_memory_requests_are_told_and_then_served_again(gpu: Device) -> None:
    # Images so large that what the allocator has left over does not hold them.
    sizes = StaticImageSizeParams(hw_ratios=((1, 1),), short_sizes=(480,))
    segmenter = _segmenter(gpu, static_image_size_params=sizes)
    row: dict[str, object] = {"image": encoded(noise(60, 60)), "labels": b"cat,grass"}

    def respond_to(rows: int) -> list[tuple[int, str]]:
        answers = respond(segmenter, [row] * rows, [{}] * rows, SERVER)
        return [(one.status, "" if one.status == 200 else json.loads(one.body)["error"]["type"]) for one in answers]

    assert respond_to(1) == [(200, "")]
    segmenter.free_memory()  # the request's features among it
    with no_memory(gpu):
        assert respond_to(3) == [(507, "out_of_memory")] * 3
    assert respond_to(3) == [(200, "")] * 3
    assert not gpu.lost


def test_features_stay_on_the_gpu_and_serve_other_labels(gpu: Device, kind: str) -> None:
    segmenter, fresh = _segmenter(gpu), _segmenter(gpu, feature_cache_megabytes=0)
    assert segmenter.feature_cache is not None and fresh.feature_cache is None
    image = noise(96, 96)
    segmenter.segment(image, ["cat"])
    cached = segmenter.feature_cache.get(feature_key(image, (96, 96)))
    assert cached is not None and cached.device.type == kind
    before = segmenter.feature_cache.counts.hits
    found, expected = (one.segment(image, ["dog", "grass", "sky"]) for one in (segmenter, fresh))
    assert segmenter.feature_cache.counts.hits == before + 1
    torch.testing.assert_close(found.scores, expected.scores)
    assert (found.mask == expected.mask).all()


def test_cached_and_new_images_of_a_batch_keep_their_order(gpu: Device) -> None:
    segmenter, fresh = _segmenter(gpu), _segmenter(gpu, feature_cache_megabytes=0)
    jobs = [Job(noise(96, 96, number), ("cat", "grass", f"label {number}")) for number in range(5)]
    segmenter.segment_batch(jobs[1:3])
    for found, expected in zip(segmenter.segment_batch(jobs), fresh.segment_batch(jobs), strict=True):
        assert workload.agreement(found, expected) > 0.99
