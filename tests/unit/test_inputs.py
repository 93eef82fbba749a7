"""What Python callers give: each input that cannot be used is refused in words before it reaches torch."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from lseg_serve.model import LSeg
from lseg_serve.segmenter import (
    Config,
    InvalidImageError,
    InvalidLabelsError,
    InvalidOptionError,
    Job,
    Segmenter,
    StaticImageSizeParams,
)
from lseg_serve.segmenter.config import AccurateParams
from lseg_serve.segmenter.errors import ImageTooLargeError
from lseg_serve.segmenter.jobs import EncodedLabels
from tests.support.pictures import Pixels, encoded, gradient, noise

CONFIG = Config(
    device="cpu",
    static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1), (2, 3)), short_sizes=(64,)),
    accurate=AccurateParams(scales=(1.0,), base_size=64, crop_size=64, stride=48),
    max_image_pixels=100_000,
)
LABELS = ["sky", "a cat", "other"]
MODES = ["fast", "accurate"]


@pytest.fixture(scope="module")
def segmenter(small_net: LSeg) -> Segmenter:
    return Segmenter(small_net, config=CONFIG)


PICTURE = noise(40, 60)

NO_PIXELS: dict[str, tuple[object, str]] = {
    "nothing": (None, "of type NoneType"),
    "a number": (7, "of type int"),
    "a list": (PICTURE.tolist(), "of type list"),
    "a tensor": (torch.from_numpy(PICTURE), r"of type torch\.Tensor"),
    "a Pillow image": (Image.fromarray(PICTURE), r"of type PIL\.Image\.Image"),
    "floats from 0 to 1": (PICTURE / 255, "an array of float64"),
    "32-bit floats": (PICTURE.astype(np.float32), "an array of float32"),
    "whole numbers": (PICTURE.astype(np.int64), "an array of int64"),
    "signed bytes": (PICTURE.astype(np.int8), "an array of int8"),
    "16 bits": (PICTURE.astype(np.uint16), "an array of uint16"),
    "truth values": (PICTURE > 3, "an array of bool"),
    "texts": (np.array(["cat"]), "an array of <U3"),
    "objects": (np.array([PICTURE], dtype=object), "an array of object"),
    "grey": (PICTURE[..., 0], r"the shape \[40, 60\]"),
    "grey with an axis": (PICTURE[..., :1], r"the shape \[40, 60, 1\]"),
    "four channels": (np.zeros((4, 5, 4), np.uint8), r"the shape \[4, 5, 4\]"),
    "channels first": (PICTURE.transpose(2, 0, 1), r"the shape \[3, 40, 60\]"),
    "a batch": (PICTURE[None], r"the shape \[1, 40, 60, 3\]"),
    "a single value": (np.uint8(7), "of type numpy.uint8"),
    "no rows": (PICTURE[:0], r"the shape \[0, 60, 3\]"),
    "no columns": (PICTURE[:, :0], r"the shape \[40, 0, 3\]"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NO_PIXELS)
def test_what_is_no_picture_is_refused_in_words(segmenter: Segmenter, name: str, mode: str) -> None:
    """By `segment`, and by `segment_batch` beside a job that is right."""
    image, match = NO_PIXELS[name]
    with pytest.raises(InvalidImageError, match=f"image .*{match}.*; accepted: .*uint8 .H, W, 3.") as caught:
        segmenter.segment(image, LABELS, mode=mode)  # type: ignore[arg-type]
    assert (caught.value.status, caught.value.field) == (400, "image")
    with pytest.raises(InvalidImageError, match=match):
        segmenter.segment_batch([Job(PICTURE, LABELS), Job(image, LABELS, mode=mode)])  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "match"),
    [((400, 251, 3), "251x400 = 100400 pixels; accepted: up to 100000"), ((1, 65_536, 3), "sides of up to 65535")],
)
def test_an_array_has_the_limits_of_a_file(
    segmenter: Segmenter, shape: tuple[int, int, int], match: str, mode: str
) -> None:
    with pytest.raises(ImageTooLargeError, match=match) as caught:
        segmenter.segment(np.zeros(shape, np.uint8), LABELS, mode=mode)
    assert caught.value.status == 413


def _read_only(image: Pixels) -> Pixels:
    image = image.copy()
    image.flags.writeable = False
    return image


# The same picture, as it may lie in memory.
LAYOUTS: dict[str, Pixels] = {
    "read-only": _read_only(PICTURE),
    "a part of a buffer": np.frombuffer(PICTURE.tobytes(), np.uint8).reshape(PICTURE.shape),
    "columns first": np.asfortranarray(PICTURE),
    "rows backwards": PICTURE[::-1].copy()[::-1],
    "mirrored": PICTURE[:, ::-1].copy()[:, ::-1],
    "channels backwards": PICTURE[..., ::-1].copy()[..., ::-1],
    "a part of a larger picture": np.pad(PICTURE, ((3, 4), (5, 6), (0, 0)))[3:-4, 5:-6],
    "without its alpha": np.dstack([PICTURE, PICTURE[..., :1]])[..., :3],
    "every second row": np.repeat(PICTURE, 2, axis=0)[::2],
    "channels first, turned": np.ascontiguousarray(PICTURE.transpose(2, 0, 1)).transpose(1, 2, 0),
    "a masked array": np.ma.masked_array(PICTURE),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_may_lie_in_memory_in_any_way(small_net: LSeg, mode: str) -> None:
    segmenter = Segmenter(small_net, config=CONFIG.replaced(feature_cache_megabytes=0))
    expected = segmenter.segment(PICTURE, LABELS, mode=mode)
    for name, image in LAYOUTS.items():
        found = segmenter.segment(image, LABELS, mode=mode)
        np.testing.assert_array_equal(found.mask, expected.mask, err_msg=name)
        assert type(found.mask) is np.ndarray


def test_a_picture_mapped_from_its_file_is_taken(segmenter: Segmenter, tmp_path: Path) -> None:
    np.save(tmp_path / "picture.npy", PICTURE)
    mapped: npt.NDArray[np.uint8] = np.load(tmp_path / "picture.npy", mmap_mode="r")
    np.testing.assert_array_equal(segmenter.segment(mapped, LABELS).mask, segmenter.segment(PICTURE, LABELS).mask)


@pytest.mark.parametrize(
    "threshold",
    [-0.1, 1.1, float("nan"), float("inf"), "0.5", None, True, 1j, [0.5], torch.tensor(0.5), Fraction(1, 2)],
    ids=repr,
)
@pytest.mark.parametrize("mode", MODES)
def test_a_threshold_is_a_number_from_0_to_1(segmenter: Segmenter, threshold: object, mode: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"threshold is .*; accepted: a number from 0 to 1") as caught:
        segmenter.segment(PICTURE, LABELS, threshold=threshold, mode=mode)  # type: ignore[arg-type]
    assert (caught.value.status, caught.value.field) == (400, "threshold")


@pytest.mark.parametrize("threshold", [0, 1, 0.25, np.float32(0.25), np.int64(1)], ids=repr)
def test_every_kind_of_number_is_a_threshold(segmenter: Segmenter, threshold: float) -> None:
    found = segmenter.segment(PICTURE, LABELS, threshold=threshold).mask
    np.testing.assert_array_equal(found, segmenter.segment(PICTURE, LABELS, threshold=float(threshold)).mask)


@pytest.mark.parametrize("mode", ["slow", "", "FAST", 1, ["fast"]], ids=repr)
def test_a_mode_is_one_of_the_two(segmenter: Segmenter, mode: object) -> None:
    with pytest.raises(InvalidOptionError, match=r"mode is .*; accepted: fast, accurate"):
        segmenter.segment(PICTURE, LABELS, mode=mode)  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match=r"mode is .*; accepted: fast, accurate"):
        segmenter.segment_batch([Job(PICTURE, LABELS), Job(PICTURE, LABELS, mode=mode)])  # type: ignore[arg-type]


BAD_LABELS: dict[str, tuple[object, str]] = {
    "one text": ("sky", "labels is the text 'sky'"),
    "bytes": (b"sky", r"label 1 is a number \(115\)"),
    "a set": ({"sky", "cat"}, "labels is of type set"),
    "an array": (np.array(["sky", "cat"]), "labels is of type ndarray"),
    "keys": ({"sky": 1}, "labels is of type dict"),
    "none in a list": ([], "labels is empty"),
    "an empty one": (["sky", " "], "label 2 is empty"),
    "one twice": (["sky", "Sky"], "given twice"),
    "too many": ([f"label {number}" for number in range(256)], "256 labels"),
    "too long a one": (["x" * 201], "201 characters"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_labels_of_jobs_are_checked_as_those_of_a_request(segmenter: Segmenter, name: str) -> None:
    labels, match = BAD_LABELS[name]
    for ask in (
        lambda: segmenter.segment(PICTURE, labels),  # type: ignore[arg-type]
        lambda: segmenter.segment_batch([Job(PICTURE, labels)]),  # type: ignore[arg-type]
        lambda: segmenter.accurate_scores(PICTURE, labels),  # type: ignore[arg-type]
        lambda: segmenter.encode_labels(labels),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidLabelsError, match=match):
            ask()


def test_embeddings_of_another_model_are_refused(segmenter: Segmenter) -> None:
    own = segmenter.encode_labels(LABELS)
    assert segmenter.segment_batch([Job(PICTURE, own)])[0].labels == tuple(LABELS)
    for labels, embeddings in ((own.labels, torch.zeros(3, 512)), (("sky",), own.embeddings)):
        with pytest.raises(InvalidLabelsError, match=r"the embeddings of . labels have the shape .*accepted"):
            segmenter.segment_batch([Job(PICTURE, EncodedLabels(labels, embeddings, 0.0))])


def test_a_file_that_cannot_be_read_is_named(segmenter: Segmenter, tmp_path: Path) -> None:
    reasons: dict[str | Path, str] = {
        tmp_path / "absent.png": "absent.png', which cannot be read: No such file",
        str(tmp_path / "absent" / "picture.png"): "picture.png', which cannot be read: No such file",
        tmp_path: "which is no plain file",
        "no\0path": "which cannot be read: embedded null",
        "x" * 5_000: "which cannot be read: File name too long",
    }
    for path, match in reasons.items():
        with pytest.raises(InvalidImageError, match=match) as caught:
            segmenter.segment(path, LABELS)
        assert caught.value.status == 400


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(segmenter: Segmenter, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidImageError, match="pipe', which is no plain file"):
        segmenter.segment(tmp_path / "pipe", LABELS)


def test_bytes_may_come_in_any_buffer(segmenter: Segmenter) -> None:
    image = gradient(40, 60)
    file = encoded(image)
    expected = segmenter.segment(image, LABELS).mask
    for content in (file, bytearray(file), memoryview(file)):
        np.testing.assert_array_equal(segmenter.segment(content, LABELS).mask, expected)  # type: ignore[arg-type]


def test_a_bomb_is_refused_whatever_pillows_own_limit_is(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that uses the segmenter may set Pillow's limit as it likes."""
    large, small = encoded(np.zeros((400, 251, 3), np.uint8)), encoded(gradient(40, 60))
    for limit in (None, 1_000_000, 40_000):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ImageTooLargeError, match=r"100400 pixels; accepted: up to \d+") as caught:
            segmenter.segment(large, LABELS)
        assert ("Image.MAX_IMAGE_PIXELS" in caught.value.message) == (limit == 40_000)
        assert segmenter.segment(small, LABELS).mask.shape == (40, 60)
