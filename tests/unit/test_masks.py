"""Masks equal what torch gives for the whole image in one go, whatever the size and however many strips it takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.segmenter.masks.blending import blended_labels
from lseg_serve.segmenter.masks.cells import CellJudge, worth_cells
from lseg_serve.segmenter.masks.confidence import Tally
from lseg_serve.segmenter.masks.mask import UNLABELLED, Mask, bucket_logits, make_mask, mask_by_strips
from lseg_serve.segmenter.masks.score_maps import ScoreMap, strips
from lseg_serve.segmenter.preprocessing.buckets import Bucket
from tests.support.memory import PEAK

BUCKET = Bucket(64, 96)
# Where cells take the place of pixels, mean scores are sums over parabolas. The scores below are steep; those of the
# bundled model lose less than a tenth of this.
MEAN_SCORES_ERROR = 1e-3
SIZES = {
    "the bucket's own": (64, 96),
    "larger": (200, 300),
    "smaller": (40, 60),
    "much smaller": (5, 7),
    "taller only": (131, 96),
    "wider only": (64, 173),
    "larger one way, smaller the other": (30, 211),
    "a line": (1, 500),
    "a column": (500, 1),
    "one pixel": (1, 1),
}


def _scores(count: int, seed: int = 0, bucket: Bucket = BUCKET) -> Tensor:
    """Scores as the network gives them, with some smoothness, so that labels form regions."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 6 * torch.randn(1, count, bucket.height // 16, bucket.width // 16, generator=generator)
    return F.interpolate(coarse, size=(bucket.height // 2, bucket.width // 2), mode="bicubic")[0]


def _mask(
    scores: Tensor, bucket: Bucket, height: int, width: int, *, threshold: float = 0.0, with_scores: bool = False
) -> Mask:
    """The mask of fast mode."""
    logits = bucket_logits(scores, bucket, height, width)
    return make_mask(logits, threshold=threshold, with_scores=with_scores)


def _logits(scores: Tensor, height: int, width: int) -> Tensor:
    """The whole logits [K, height, width]: lang-seg's last step, then the stretch to the image's size."""
    network = F.interpolate(scores[None], size=(BUCKET.height, BUCKET.width), mode="bilinear", align_corners=True)
    return F.interpolate(network, size=(height, width), mode="bilinear", align_corners=False)[0]


def _assert_argmax(indices: npt.NDArray[np.uint8], logits: Tensor) -> None:
    """`indices` name the highest logit wherever two of them are further apart than floats round."""
    found = logits.gather(0, torch.from_numpy(indices).long()[None])[0]
    assert (logits.max(dim=0).values - found).max() <= 1e-4


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("strip", [8_000_000, 7 * 300 * 5, 1], ids=["one strip", "several strips", "row by row"])
def test_the_mask_is_the_argmax_of_the_resized_logits(size: tuple[int, int], strip: int) -> None:
    scores = _scores(7)
    mask = mask_by_strips(bucket_logits(scores, BUCKET, *size), strip_elements=strip)
    assert mask.indices.dtype == np.uint8
    assert mask.indices.shape == size
    assert mask.mean_scores is None
    _assert_argmax(mask.indices, _logits(scores, *size))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("elements", [1_000_000, 500], ids=["at once", "in parts"])
def test_where_neighbours_agree_nothing_is_resized_and_nothing_changes(size: tuple[int, int], elements: int) -> None:
    scores = _scores(7)
    scores[5] = scores[2]  # of two equal labels the first is meant
    labels = blended_labels(bucket_logits(scores, BUCKET, *size), part_elements=elements, blend_cost=0)
    assert labels is not None
    assert labels.shape == size
    assert 5 not in labels
    _assert_argmax(labels, _logits(scores, *size))


@pytest.mark.parametrize("size", [(64, 96), (200, 300), (131, 96)])
@pytest.mark.parametrize("count", [2, 7, 20])
def test_mean_scores_and_a_threshold_change_no_label(size: tuple[int, int], count: int) -> None:
    """Also where scores tie, as rounded ones do."""
    for seed in range(12):
        logits = bucket_logits((_scores(count, seed) * 4).round() / 4, BUCKET, *size)
        plain = make_mask(logits).indices
        np.testing.assert_array_equal(make_mask(logits, with_scores=True).indices, plain)
        np.testing.assert_array_equal(make_mask(logits, threshold=1e-6).indices, plain)
        half = make_mask(logits, threshold=0.5, with_scores=True).indices
        np.testing.assert_array_equal(half[half != UNLABELLED], plain[half != UNLABELLED])


def test_a_map_without_segments_is_resized_as_a_whole() -> None:
    noise = torch.randn(7, 32, 48, generator=torch.Generator().manual_seed(0))
    logits = bucket_logits(noise, BUCKET, 130, 180)
    assert blended_labels(logits) is None
    _assert_argmax(make_mask(logits).indices, _logits(noise, 130, 180))


@pytest.mark.parametrize("size", [(64, 96), (200, 300), (30, 211)])
def test_strips_change_nothing(size: tuple[int, int]) -> None:
    scores = _scores(7)
    whole = _mask(scores, BUCKET, *size, threshold=0.4, with_scores=True)
    logits = bucket_logits(scores, BUCKET, *size)
    strips = mask_by_strips(logits, threshold=0.4, with_scores=True, strip_elements=7 * size[1] * 11)
    assert (strips.indices != whole.indices).mean() < 1e-4  # where two labels tie to the last bit
    assert strips.mean_scores is not None
    assert whole.mean_scores is not None
    np.testing.assert_allclose(strips.mean_scores, whole.mean_scores, atol=MEAN_SCORES_ERROR)


@pytest.mark.parametrize("size", [(64, 96), (130, 70)])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_a_pixel_below_the_threshold_is_unlabelled(size: tuple[int, int], threshold: float) -> None:
    scores = _scores(5)
    softmax = _logits(scores, *size).softmax(dim=0)
    confidence = softmax.max(dim=0).values.numpy()
    indices = _mask(scores, BUCKET, *size, threshold=threshold).indices
    clear = np.abs(confidence - threshold) > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal((indices == UNLABELLED)[clear], (confidence < threshold)[clear])
    assert 0 < (indices == UNLABELLED).mean() < 1 or threshold == 0.2
    labelled = _mask(scores, BUCKET, *size).indices
    np.testing.assert_array_equal(indices[indices != UNLABELLED], labelled[indices != UNLABELLED])


@pytest.mark.parametrize("seed", range(24))
def test_cells_are_judged_as_their_pixels_are(seed: int) -> None:
    """Any number of labels, size, steepness, temperature and threshold; cells that are cut, and cells that are not."""
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 40))
    height, width = (int(side) for side in random.integers([130, 200], [900, 1400]))
    bucket = Bucket(32, 48) if seed % 2 else BUCKET
    temperature = float(random.choice([1, 0.5, 3]))
    threshold = float(random.choice([0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99]))
    logits = bucket_logits(_scores(count, seed, bucket) * random.uniform(0.2, 1.5), bucket, height, width)
    assert worth_cells(logits)
    labels = blended_labels(logits, blend_cost=-count)
    assert labels is not None
    plain = mask_by_strips(logits, labels, threshold=threshold, with_scores=True, temperature=temperature)
    confidence = torch.cat([rows for _, rows in _confidence(logits, temperature)]).numpy()
    for elements in (1_000_000, 30_000):
        tally = Tally(count, threshold=threshold, with_scores=True, temperature=temperature)
        judge = CellJudge(logits, tally, part_elements=elements)
        judged = blended_labels(logits, blend_cost=-count, judge=judge)
        assert judged is not None
        differing = judged != plain.indices
        assert np.all(np.abs(confidence - threshold)[differing] < 1e-5)
        assert tally.mean_scores is not None
        assert plain.mean_scores is not None
        np.testing.assert_allclose(tally.mean_scores, plain.mean_scores, atol=2 * MEAN_SCORES_ERROR)


def _confidence(logits: ScoreMap, temperature: float) -> Iterator[tuple[int, Tensor]]:
    """The plain definition: the highest softmax of each pixel, in strips."""
    for top, strip in strips(logits):
        yield top, (strip / temperature).softmax(dim=0).amax(dim=0)


def test_a_label_of_few_pixels_has_its_own_mean_score() -> None:
    scores = torch.zeros(2, 32, 48)
    scores[1] = -10
    scores[1, 16, 24] = 8  # between two pixels of the bucket, and far from everything else
    mask = _mask(scores, BUCKET, 640, 960, with_scores=True)
    softmax = _logits(scores, 640, 960).softmax(dim=0).numpy()
    few = mask.indices == 1
    assert 0 < few.sum() < 500
    assert mask.mean_scores is not None
    assert mask.mean_scores[1] == pytest.approx(softmax[1][few].mean(), abs=1e-5)


def test_a_threshold_of_zero_leaves_no_pixel_unlabelled() -> None:
    assert (_mask(torch.zeros(5, 32, 48), BUCKET, 50, 50).indices != UNLABELLED).all()


def test_the_threshold_itself_is_enough() -> None:
    """Equal scores of 4 labels: a softmax of exactly 1/4 everywhere."""
    scores = torch.zeros(4, 32, 48)
    assert (_mask(scores, BUCKET, 64, 96, threshold=0.25).indices == 0).all()
    assert (_mask(scores, BUCKET, 64, 96, threshold=0.2501).indices == UNLABELLED).all()


@pytest.mark.parametrize("threshold", [0.0, 0.5])
@pytest.mark.parametrize("size", [(64, 96), (130, 70), (9, 11)])
def test_mean_scores_are_the_mean_softmax_of_each_labels_pixels(size: tuple[int, int], threshold: float) -> None:
    scores = _scores(6)
    scores[4] = -100  # a label that has no pixel
    mask = _mask(scores, BUCKET, *size, threshold=threshold, with_scores=True)
    softmax = _logits(scores, *size).double().softmax(dim=0).numpy()
    expected = [
        softmax[index][mask.indices == index].mean() if (mask.indices == index).any() else 0 for index in range(6)
    ]
    assert mask.mean_scores is not None
    assert expected[4] == 0
    np.testing.assert_allclose(mask.mean_scores, expected, atol=1e-5 if size != (64, 96) else MEAN_SCORES_ERROR)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_one_label_alone_is_everywhere_and_certain(threshold: float) -> None:
    mask = _mask(_scores(1), BUCKET, 90, 50, threshold=threshold, with_scores=True)
    assert (mask.indices == 0).all()
    assert mask.mean_scores is not None
    np.testing.assert_allclose(mask.mean_scores, [1], rtol=1e-6)


def test_as_many_labels_as_a_byte_can_index() -> None:
    """Label k is the highest in its own column of the network's scores, and 255 stays what means unlabelled."""
    bucket = Bucket(32, 512)
    scores = torch.full((255, 16, 256), -5.0)
    scores[torch.arange(255), :, torch.arange(255)] = 5.0
    mask = _mask(scores, bucket, 32, 512, with_scores=True)
    assert set(np.unique(mask.indices)) == set(range(255))
    assert _mask(scores, bucket, 32, 512, threshold=0.99).indices.max() == UNLABELLED


def test_scores_are_left_as_they_are() -> None:
    scores = _scores(3)
    before = scores.clone()
    _mask(scores, BUCKET, 64, 96, threshold=0.5, with_scores=True)
    assert torch.equal(scores, before)


_MEASURE = """
import torch
from lseg_serve.segmenter.masks.score_maps import ScoreMap, strips
from lseg_serve.segmenter.preprocessing.buckets import Bucket
from lseg_serve.segmenter.masks.mask import bucket_logits, make_mask
{peak}
scores = torch.randn(255, 240, 320)
scores = {scores}
make_mask(bucket_logits(scores, Bucket(480, 640), 480, 640))
before = peak()
make_mask(bucket_logits(scores, Bucket(480, 640), {height}, {width}), {options})
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(60_000, 1), (1, 60_000), (4_000, 3_000)])
def test_no_shape_of_image_takes_much_memory(height: int, width: int, capsys: pytest.CaptureFixture[str]) -> None:
    """255 labels at full size would be 12 GB for the last of these."""
    _assert_little_memory("scores", height, width, "", capsys)


@pytest.mark.slow
def test_mean_scores_and_a_threshold_take_little_memory(capsys: pytest.CaptureFixture[str]) -> None:
    """255 labels in regions, with a threshold that leaves many cells in doubt."""
    smooth = "torch.nn.functional.interpolate(scores[None, :, ::30, ::30], size=(240, 320), mode='bicubic')[0]"
    _assert_little_memory(smooth, 4_000, 3_000, "threshold=0.04, with_scores=True", capsys)


def _assert_little_memory(
    scores: str, height: int, width: int, options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program = _MEASURE.format(scores=scores, height=height, width=width, options=options, peak=PEAK)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    with capsys.disabled():
        print(
            f"\nmask of 255 labels at {height}x{width}: {int(run.stdout) / 1e6:.0f} MB more than at the bucket's size"
        )
    assert int(run.stdout) < 500e6
