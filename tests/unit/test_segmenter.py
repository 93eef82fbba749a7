"""The segmenter gives lang-seg's mask at the image's own size, whatever it is asked beside it."""

from __future__ import annotations

import gc
import gzip
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.model import CheckpointError, LSeg
from lseg_serve.segmenter import Config, Job, Segmentation, Segmenter
from lseg_serve.segmenter.archive import ARCHIVE_FORMAT, CONFIG_FILE, LABELS_FILE, MANIFEST_FILE, WEIGHTS_FILE
from lseg_serve.segmenter.config import StaticImageSizeParams
from lseg_serve.segmenter.devices import CpuDevice
from lseg_serve.segmenter.errors import ArchiveError, InvalidImageError, InvalidLabelsError, UnsupportedImageError
from lseg_serve.segmenter.masks.mask import UNLABELLED
from tests.support.networks import langseg_tensors
from tests.support.pictures import Pixels, encoded, gradient, noise

CONFIG = Config(
    device="cpu", static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1), (2, 3)), short_sizes=(64,))
)
LABELS = ("sky", "a cat", "Traffic Light", "日本", "other")
SIZES = [(64, 64), (64, 96), (90, 133), (31, 40), (1, 1), (200, 20)]


@pytest.fixture(scope="module")
def segmenter(small_net: LSeg) -> Segmenter:
    return Segmenter(small_net, config=CONFIG)


def _logits(net: LSeg, image: Pixels, bucket: tuple[int, int]) -> Tensor:
    """The network's own logits for the stretched image, stretched back: [K, H, W]."""
    stretched = np.asarray(Image.fromarray(image).resize(bucket[::-1], Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(stretched / np.float32(127.5) - 1).permute(2, 0, 1)[None].float()
    return F.interpolate(net.logits(pixels, LABELS), size=image.shape[:2], mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize(
    ("size", "bucket"),
    [((64, 64), (64, 64)), ((64, 96), (64, 96)), ((90, 133), (64, 96)), ((31, 30), (64, 64)), ((300, 300), (64, 64))],
)
def test_the_mask_is_the_argmax_of_the_networks_logits(
    segmenter: Segmenter, size: tuple[int, int], bucket: tuple[int, int]
) -> None:
    image = noise(*size)
    logits = _logits(segmenter.net, image, bucket)
    result = segmenter.segment(image, LABELS)
    assert (result.bucket.height, result.bucket.width) == bucket
    assert result.mask.dtype == np.uint8
    assert result.mask.shape == size
    assert result.labels == LABELS
    found = logits.gather(0, torch.from_numpy(result.mask).long()[None])[0]
    assert (logits.max(dim=0).values - found).max() <= 1e-3
    assert len(np.unique(result.mask)) > 1


def test_scores_are_the_networks_before_its_last_resize(segmenter: Segmenter) -> None:
    image = noise(64, 96)
    scores = segmenter.segment(image, LABELS).scores
    assert (scores.shape, scores.dtype, scores.device.type) == ((5, 32, 48), torch.float32, "cpu")
    doubled = F.interpolate(scores[None], size=(64, 96), mode="bilinear", align_corners=True)[0]
    torch.testing.assert_close(doubled, _logits(segmenter.net, image, (64, 96)), rtol=0, atol=1e-4)


def test_a_threshold_leaves_pixels_out_and_changes_no_other(segmenter: Segmenter) -> None:
    image = noise(90, 133)
    softmax = _logits(segmenter.net, image, (64, 96)).softmax(dim=0).max(dim=0).values.numpy()
    threshold = float(np.median(softmax))
    clear = np.abs(softmax - threshold) > 1e-3
    everything = segmenter.segment(image, LABELS).mask
    sure = segmenter.segment(image, LABELS, threshold=threshold).mask
    np.testing.assert_array_equal((sure == UNLABELLED)[clear], (softmax < threshold)[clear])
    np.testing.assert_array_equal(sure[sure != UNLABELLED], everything[sure != UNLABELLED])


def _assert_same(found: Segmentation, expected: Segmentation) -> None:
    assert (found.labels, found.bucket) == (expected.labels, expected.bucket)
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert torch.equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.mean_scores, expected.mean_scores)


def test_a_batch_equals_its_images_one_by_one(segmenter: Segmenter) -> None:
    jobs = [
        Job(noise(*size, seed), LABELS[seed % 3 :], 0.1 * seed, with_scores=seed % 2 == 0)
        for seed, size in enumerate(SIZES)
    ]
    together = segmenter.segment_batch(jobs)
    assert [result.mask.shape for result in together] == SIZES
    for job, result in zip(jobs, together, strict=True):
        _assert_same(result, segmenter.segment_batch([job])[0])


def test_a_batch_of_a_device_that_takes_several_at_once_is_the_same_but_for_rounding(small_net: LSeg) -> None:
    device = CpuDevice()
    device.batch_sizes = (1, 3)
    jobs = [Job(noise(*size, seed), LABELS[seed % 3 :]) for seed, size in enumerate(SIZES)]
    alone = Segmenter(small_net, config=CONFIG).segment_batch(jobs)
    together = Segmenter(small_net, config=CONFIG, device=device).segment_batch(jobs)
    for found, expected in zip(together, alone, strict=True):
        assert found.labels == expected.labels
        torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)


def test_an_empty_batch_has_no_results(segmenter: Segmenter) -> None:
    assert segmenter.segment_batch([]) == []


def test_an_image_is_not_changed(segmenter: Segmenter) -> None:
    image = noise(64, 64)
    image.flags.writeable = False
    segmenter.segment(image, LABELS)
    np.testing.assert_array_equal(image, noise(64, 64))


def test_mean_scores_come_where_they_are_asked_for(segmenter: Segmenter) -> None:
    image = noise(64, 96)
    softmax = _logits(segmenter.net, image, (64, 96)).softmax(dim=0).numpy()
    without, with_scores = segmenter.segment_batch([Job(image, LABELS), Job(image, LABELS, with_scores=True)])
    assert without.mean_scores is None
    assert with_scores.mean_scores is not None
    for index, mean in enumerate(with_scores.mean_scores):
        pixels = softmax[index][with_scores.mask == index]
        assert mean == pytest.approx(pixels.mean() if pixels.size else 0, abs=1e-4)


def test_without_labels_the_exported_label_set_is_used(small_net: LSeg) -> None:
    embeddings = small_net.encode_labels(LABELS)
    exported = Segmenter(small_net, config=CONFIG, label_set=LABELS, label_embeddings=embeddings)
    image = noise(64, 96)
    found, expected = exported.segment(image), Segmenter(small_net, config=CONFIG).segment(image, LABELS)
    assert found.labels == LABELS
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert exported.text_cache.counts.misses == 0


def test_without_labels_and_without_a_label_set_there_is_an_error(segmenter: Segmenter) -> None:
    with pytest.raises(InvalidLabelsError, match=r"labels is missing.*without a label set") as caught:
        segmenter.segment(noise(64, 64))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([], "labels is empty"),
        ([""], "label 1 is empty"),
        (["cat", "Cat"], "given twice"),
        ([1], r"label 1 is a number \(1\)"),
        (["cat", "x" * 201], "label 2 .* 201 characters"),
        (["cat", "a " * 90], "a a a.*75 CLIP tokens"),
        ([f"label {number}" for number in range(256)], "256 labels"),
    ],
)
def test_labels_are_checked(segmenter: Segmenter, labels: list[str], match: str) -> None:
    remembered = len(segmenter.text_cache)
    with pytest.raises(InvalidLabelsError, match=match):
        segmenter.segment(noise(64, 64), labels)
    assert len(segmenter.text_cache) == remembered


def test_labels_are_trimmed(segmenter: Segmenter) -> None:
    assert segmenter.segment(noise(64, 64), [" cat", "dog\n"]).labels == ("cat", "dog")


def test_a_label_is_encoded_once(small_net: LSeg) -> None:
    segmenter = Segmenter(small_net, config=CONFIG)
    for labels in (["cat", "dog"], ["dog", "cat"], ["cat", "bird"]):
        segmenter.segment(noise(32, 32), labels)
    assert segmenter.text_cache.counts.misses == 3


def test_new_words_on_a_known_image_skip_the_network_and_change_nothing(
    small_net: LSeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    decode = small_net.decode

    def watched(pixels: Tensor) -> Tensor:
        seen.append(len(pixels))
        return decode(pixels)

    monkeypatch.setattr(small_net, "decode", watched)
    image = noise(90, 133)
    cached, plain = (
        Segmenter(small_net, config=CONFIG),
        Segmenter(small_net, config=CONFIG.replaced(feature_cache_megabytes=0)),
    )
    for labels in (LABELS, LABELS[:2], ("a red car", "rain")):
        _assert_same(cached.segment(image, labels), plain.segment(image, labels))
    assert len(seen) == 1 + 3
    assert cached.feature_cache is not None
    assert (cached.feature_cache.counts.hits, cached.feature_cache.counts.misses) == (2, 1)


def test_a_label_sets_embeddings_are_kept_however_many_labels_come(small_net: LSeg) -> None:
    config = CONFIG.replaced(text_cache_size=1)
    exported = small_net.encode_labels(LABELS)
    segmenter = Segmenter(small_net, config=config, label_set=LABELS, label_embeddings=exported)
    for number in range(3):
        segmenter.segment(noise(32, 32), [f"flood {number} {word}" for word in range(20)])
    misses = segmenter.text_cache.counts.misses
    assert torch.equal(segmenter.encode_labels(None).embeddings, exported)
    assert segmenter.encode_labels(LABELS[1:3]).labels == LABELS[1:3]
    assert segmenter.text_cache.counts.misses == misses
    assert len(segmenter.text_cache) == len(LABELS) + 1


def test_a_path_bytes_and_pixels_give_the_same(segmenter: Segmenter, tmp_path: Path) -> None:
    image = gradient(70, 50)
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(image))
    expected = segmenter.segment(image, LABELS)
    for way in (path, str(path), path.read_bytes()):
        _assert_same(segmenter.segment(way, LABELS), expected)


def test_an_image_that_cannot_be_used_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(UnsupportedImageError):
        segmenter.segment(b"no image", LABELS)
    with pytest.raises(InvalidImageError, match="accepted: up to 100"):
        Segmenter(segmenter.net, config=CONFIG.replaced(max_image_pixels=100)).segment(encoded(noise(11, 10)), LABELS)


def test_every_stage_is_timed(segmenter: Segmenter) -> None:
    (first, second) = segmenter.segment_batch([Job(noise(64, 64), LABELS), Job(noise(90, 133), LABELS)])
    for result in (first, second):
        assert list(result.seconds) == ["text", "network", "mask"]
        assert all(seconds > 0 for seconds in result.seconds.values())


@pytest.mark.parametrize(
    ("prepares_each_shape", "warmed"),
    [(True, [(64, 64), (64, 96), (480, 480)]), (False, [(64, 64)])],
    ids=["each", "any"],
)
def test_warm_up_runs_every_shape_that_the_device_prepares(
    small_net: LSeg, monkeypatch: pytest.MonkeyPatch, prepares_each_shape: bool, warmed: list[tuple[int, int]]
) -> None:
    shapes: list[tuple[int, ...]] = []
    decode = small_net.decode

    def watched(pixels: Tensor) -> Tensor:
        shapes.append(tuple(pixels.shape[2:]))
        return decode(pixels)

    monkeypatch.setattr(small_net, "decode", watched)
    device = CpuDevice()
    device.prepares_each_shape = prepares_each_shape
    segmenter = Segmenter(small_net, config=CONFIG, device=device)
    segmenter.warm_up()
    measured = (224, 224)  # by which a processor's speed is measured afterwards
    assert shapes[-1] == measured
    assert sorted(shape for shape in shapes if shape != measured) == warmed


def test_a_checkpoint_is_loaded_as_it_is(small_checkpoint: Path, segmenter: Segmenter) -> None:
    image = noise(64, 96)
    loaded = Segmenter.load(small_checkpoint, CONFIG)
    assert loaded.architecture == segmenter.architecture
    torch.testing.assert_close(
        loaded.segment(image, LABELS).scores, segmenter.segment(image, LABELS).scores, rtol=0, atol=1e-4
    )


def test_a_path_with_nothing_behind_it_is_refused(tmp_path: Path) -> None:
    for name in ("absent.mar", "absent.tar.gz"):
        with pytest.raises(ArchiveError, match=name):
            Segmenter.load(tmp_path / name, CONFIG)
    with pytest.raises(CheckpointError, match=r"absent\.ckpt: no such file"):
        Segmenter.load(tmp_path / "absent.ckpt", CONFIG)


def test_a_folder_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="not a complete LSeg archive"):
        Segmenter.load(tmp_path, CONFIG)


@pytest.mark.parametrize(
    "manifest",
    ["", "{", "[]", "7", "{}", '{"format": 1}', '{"format": 1, "label_set": {}}'],
)
def test_a_folder_with_an_odd_manifest_is_refused(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "lseg.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(ArchiveError, match="not a complete LSeg archive"):
        Segmenter.load(tmp_path, CONFIG)


def test_an_archive_of_another_format_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "lseg.json").write_text('{"format": 99}', encoding="utf-8")
    with pytest.raises(ArchiveError, match="archive format 99; this version reads 1"):
        Segmenter.load(tmp_path, CONFIG)


def _zip_of_other_files(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def _tar_of_other_files(path: Path) -> None:
    content = path.with_name("readme.txt")
    content.write_text("hello", encoding="utf-8")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(content, "lseg/readme.txt")


def _tar_cut_off(path: Path) -> None:
    content = path.with_name("weights.bin")
    content.write_bytes(np.random.default_rng(0).bytes(100_000))
    with tarfile.open(path, "w:gz") as archive:
        archive.add(content, "lseg/weights.bin")
    path.write_bytes(path.read_bytes()[:50_000])


def _zip_cut_off(path: Path) -> None:
    _zip_of_other_files(path)
    path.write_bytes(path.read_bytes()[:-10])


def _zip_damaged(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lseg.json", bytes(range(256)) * 100)
    damaged = bytearray(path.read_bytes())
    damaged[60:90] = b"\xff" * 30
    path.write_bytes(damaged)


def _tar_that_climbs_out(path: Path) -> None:
    content = path.with_name("readme.txt")
    content.write_text("hello", encoding="utf-8")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(content, "../../outside.txt")


BAD_ARCHIVES = {
    "empty.mar": lambda path: path.write_bytes(b""),
    "text.mar": lambda path: path.write_text("hello", encoding="utf-8"),
    "other-files.mar": _zip_of_other_files,
    "cut-off.mar": _zip_cut_off,
    "damaged.mar": _zip_damaged,
    "empty.tar.gz": lambda path: path.write_bytes(b""),
    "text.tar.gz": lambda path: path.write_bytes(gzip.compress(b"hello")),
    "other-files.tar.gz": _tar_of_other_files,
    "cut-off.tar.gz": _tar_cut_off,
    "climbing-out.tar.gz": _tar_that_climbs_out,
}


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which unpacked copies of archives are made."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_a_file_that_is_no_archive_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, name: str, unpacked: Path
) -> None:
    path = tmp_path / name
    BAD_ARCHIVES[name](path)
    with pytest.raises(ArchiveError, match=name):
        Segmenter.load(path, CONFIG)
    assert list(unpacked.iterdir()) == []


def _small_archive(net: LSeg, path: Path) -> None:
    """What an export of `net` for the label "cat" would hold, as far as a worker reads it."""
    manifest = {"format": ARCHIVE_FORMAT, "precision": "float32", "label_set": {"labels": ["cat"]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MANIFEST_FILE, json.dumps(manifest))
        archive.writestr(WEIGHTS_FILE, save({name: value.contiguous() for name, value in langseg_tensors(net).items()}))
        archive.writestr(LABELS_FILE, save({"embeddings": net.encode_labels(["cat"])}))


def test_the_unpacked_copy_of_an_archive_goes_with_its_segmenter(
    small_net: LSeg, tmp_path: Path, unpacked: Path
) -> None:
    path = tmp_path / "small.mar"
    _small_archive(small_net, path)
    segmenter = Segmenter.load(path, CONFIG)
    assert segmenter.segment(noise(64, 64)).labels == ("cat",)
    assert len([path for path in unpacked.iterdir() if path.is_dir()]) == 1
    del segmenter
    gc.collect()
    assert list(unpacked.iterdir()) == []


_LOAD_AND_WAIT = """
import sys
from lseg_serve.segmenter import Segmenter
segmenter = Segmenter.load(sys.argv[1])
print("loaded", flush=True)
sys.stdin.read()
"""


def _copies(folder: Path) -> list[Path]:
    """The unpacked copies; torch 2.6 has a folder of its own there as well."""
    return [path for path in folder.glob("lseg-*") if path.is_dir()]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_the_unpacked_copy_of_a_process_that_a_signal_ended_goes_with_the_next_load(
    number: signal.Signals, small_net: LSeg, tmp_path: Path, unpacked: Path
) -> None:
    path = tmp_path / "small.mar"
    _small_archive(small_net, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(CONFIG_FILE, "lseg: {device: cpu}")
    command = [sys.executable, "-c", _LOAD_AND_WAIT, str(path)]
    environment = {**os.environ, "TMPDIR": str(unpacked)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loaded\n"
        process.send_signal(number)
    (left,) = _copies(unpacked)
    segmenter = Segmenter.load(path, CONFIG)
    (mine,) = _copies(unpacked)
    assert mine != left
    del segmenter
    gc.collect()
    assert list(unpacked.glob("lseg-*")) == []


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100, b"\xff" * 9 + b"{}"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"odd\.ckpt"):
        Segmenter.load(path, CONFIG)
