"""The export: what an archive holds, that it is checked, and that a failure leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lseg_serve.export.__main__ import main
from lseg_serve.export.comparison import Reference
from lseg_serve.export.errors import ExportError, ToleranceError
from lseg_serve.export.exporter import Summary, export
from lseg_serve.export.label_sets import load_label_set
from lseg_serve.export.packaging import ArchiveFormat
from lseg_serve.export.plan import Options
from lseg_serve.export.verification import verify
from lseg_serve.labelsets import Group, words_of
from lseg_serve.model import LSeg
from lseg_serve.segmenter import Config, Segmenter
from tests.conftest import PROJECT
from tests.support.networks import (
    SMALL,
    SMALL_RESNET,
    fragile_network,
    langseg_tensors,
    lightning_checkpoint,
    random_network,
    save_checkpoint,
)

PIXELS = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.fixture
def options(small_checkpoint: Path, tmp_path: Path) -> Options:
    """A quick export of the small checkpoint."""
    (tmp_path / "labels.txt").write_text("cat\ntraffic light\n\n日本\n", encoding="utf-8")
    return Options(
        small_checkpoint, output=tmp_path / "store", labels=str(tmp_path / "labels.txt"), precision="float32"
    )


@pytest.fixture
def fragile_checkpoint(tmp_path: Path) -> Path:
    """A checkpoint that is right in float32 only."""
    return save_checkpoint(fragile_network(SMALL), tmp_path / "fragile.ckpt")


@pytest.fixture(scope="module")
def exported(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, zipfile.ZipFile]:
    """The small checkpoint, exported with ADE20K's labels."""
    summary = export(Options(small_checkpoint, output=tmp_path_factory.mktemp("store"), precision="float32"))
    return summary, zipfile.ZipFile(summary.archive)


def test_a_relative_output_is_relative_to_where_the_export_runs(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for archive_format in ("default", "no-archive"):
        export(replace(options, output=Path("here"), archive_format=archive_format))
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["lseg", "lseg.mar"]


def _left(options: Options) -> list[str]:
    return sorted(path.name for path in options.output.iterdir()) if options.output.exists() else []


def test_the_archive_computes_what_the_checkpoint_does(
    exported: tuple[Summary, zipfile.ZipFile], small_net: LSeg
) -> None:
    summary, _ = exported
    assert summary.difference.largest < 1e-4
    loaded = Segmenter.load(summary.archive)
    labels = [word for label in loaded.label_set[:5] for word in words_of(label)]
    text = loaded.text_cache.embeddings(labels)
    scores = loaded.net.scores(loaded.net.pixel_embeddings(PIXELS), text)
    expected = small_net.scores(small_net.pixel_embeddings(PIXELS), small_net.encode_labels(labels))
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-4)


def test_the_archive_holds_no_pickle_and_nothing_that_serving_does_not_use(
    exported: tuple[Summary, zipfile.ZipFile], tmp_path: Path
) -> None:
    _, archive = exported
    names = archive.namelist()
    assert {Path(name).suffix for name in names} == {".py", ".txt", ".json", ".yaml", ".safetensors"}
    weights = load_file(archive.extract("weights.safetensors", tmp_path))
    unwanted = ("clip_pretrained.visual", "logit_scale", "model.head", "model.norm", ".bn", "num_batches", "net.")
    assert not [key for key in weights if any(part in key for part in unwanted)]
    assert "scratch.refinenet1.resConfUnit1.conv1.bias" in weights, "a folded convolution has a bias"


def test_the_archive_carries_the_code_as_it_is(exported: tuple[Summary, zipfile.ZipFile]) -> None:
    _, archive = exported
    for package in ("model", "segmenter", "handler", "labelsets", "embeddings"):
        for source in (
            one for one in (PROJECT / package).rglob("*") if one.suffix in (".py", ".txt") and one.name != "__main__.py"
        ):
            assert archive.read(f"lseg_serve/{source.relative_to(PROJECT).as_posix()}") == source.read_bytes()
    assert archive.read("lseg_handler.py") == archive.read("lseg_serve/handler/lseg_handler.py")


def test_the_archive_is_stored_not_deflated(exported: tuple[Summary, zipfile.ZipFile]) -> None:
    assert {entry.compress_type for entry in exported[1].infolist()} == {zipfile.ZIP_STORED}


def test_the_manifests_say_where_the_model_came_from(
    exported: tuple[Summary, zipfile.ZipFile], small_checkpoint: Path
) -> None:
    _, archive = exported
    served = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
    assert served["modelName"] == "lseg"
    assert served["handler"] == "lseg_handler.py"
    assert served["configFile"] == "model-config.yaml"
    manifest = json.loads(archive.read("lseg.json"))
    assert manifest["checkpoint"]["sha256"] == hashlib.sha256(small_checkpoint.read_bytes()).hexdigest()
    assert manifest["checkpoint"]["bytes"] == small_checkpoint.stat().st_size
    assert manifest["weights"]["bytes"] == archive.getinfo("weights.safetensors").file_size
    assert manifest["architecture"]["width"] == SMALL.width
    assert manifest["versions"]["torchserve"].startswith("0.12")
    assert len(manifest["label_set"]["labels"]) == 150


@pytest.mark.slow
@pytest.mark.parametrize("archive_format", ["default", "tgz"])
def test_the_same_input_gives_the_same_bytes(archive_format: ArchiveFormat, options: Options) -> None:
    options = replace(options, archive_format=archive_format)
    first = export(options).archive.read_bytes()
    time.sleep(1.1)  # a date in an archive would have moved on
    assert export(options).archive.read_bytes() == first


def test_a_folder_is_replaced_as_a_whole(options: Options) -> None:
    options = replace(options, archive_format="no-archive")
    export(options)
    (options.archive / "stale.py").write_text("")
    export(options)
    assert not (options.archive / "stale.py").exists()
    assert _left(options) == ["lseg"]
    assert Segmenter.load(options.archive).label_set == ("cat", "traffic light", "日本")


def test_a_label_set_of_groups_travels_with_the_embeddings_of_its_words(options: Options, small_net: LSeg) -> None:
    Path(options.labels).write_text('["cat", ["car", "automobile"], {"name": "plants", "any": ["tree"]}]')
    export(replace(options, archive_format="no-archive"))
    loaded = Segmenter.load(options.output / "lseg")
    assert loaded.label_set == ("cat", Group("car", ("car", "automobile")), Group("plants", ("tree",)))
    text = loaded.encode_labels(None)
    assert (text.labels, text.counts) == (("cat", "car", "plants"), (1, 2, 1))
    assert loaded.text_cache.counts.misses == 0
    expected = small_net.encode_labels(["cat", "car", "automobile", "tree"])
    torch.testing.assert_close(text.embeddings, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "variant", [SMALL_RESNET, replace(SMALL, arch_option=2, block_depth=2)], ids=["resnet", "regularised"]
)
def test_other_networks_pass_their_check(variant: object, tmp_path: Path) -> None:
    net = random_network(variant)  # type: ignore[arg-type]
    path = save_checkpoint(net, tmp_path / "variant.ckpt")
    summary = export(Options(path, output=tmp_path / "store", precision="float32"))
    assert summary.difference.largest < 1e-3
    assert replace(summary.architecture, batch_norm=True) == net.architecture


def test_bfloat16_halves_the_image_side(options: Options, capsys: pytest.CaptureFixture[str]) -> None:
    exact, small = export(options), export(replace(options, precision="bfloat16", name="half"))
    with capsys.disabled():
        print(f"\nbfloat16: logits within {small.difference.largest:.3f}, {small.difference.agreement:.1%} the same")
    assert exact.difference.largest < small.difference.largest < 0.5
    assert small.bytes < exact.bytes
    assert Segmenter.load(small.archive).net.head.weight.dtype == torch.bfloat16


@pytest.mark.skipif(sys.platform != "linux", reason="the list of mapped files is Linux's")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_stay_in_the_file_that_all_workers_map(precision: str, options: Options) -> None:
    target = export(replace(options, precision=precision, archive_format="no-archive")).archive
    net = Segmenter.load(target).net
    ranges = [
        tuple(int(end, 16) for end in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(target / "weights.safetensors"))
    ]
    assert ranges
    for name, parameter in net.named_parameters():
        assert any(start <= parameter.data_ptr() < end for start, end in ranges), name


def test_published_ade20k_names_are_cut_as_lang_seg_cuts_them() -> None:
    clean = load_label_set("ade20k", Config()).labels
    published = load_label_set("ade20k-published", Config()).labels
    assert len(clean) == len(set(clean)) == len(published) == 150
    assert sum(a != b for a, b in zip(clean, published, strict=True)) == 14
    assert [index for index, name in enumerate(published, start=1) if name == "screen"] == [59, 131]
    assert (clean[73], published[73]) == ("kitchen island", "kitchen")


def test_ade20k_published_with_its_two_screens_is_exported(options: Options) -> None:
    export(replace(options, labels="ade20k-published"))
    assert Segmenter.load(options.archive).label_set.count("screen") == 2


def _a_folder_of_ones_own(options: Options) -> Options:
    (options.output / "lseg").mkdir(parents=True)
    (options.output / "lseg" / "thesis.txt").write_text("precious")
    return replace(options, archive_format="no-archive")


def _a_file_in_place_of_a_folder(options: Options) -> Options:
    options.output.mkdir()
    (options.output / "lseg").write_text("precious")
    return replace(options, archive_format="no-archive")


@pytest.mark.parametrize(
    ("occupy", "message"),
    [
        (_a_folder_of_ones_own, "is a folder that is no exported model; it is left as it is"),
        (_a_file_in_place_of_a_folder, "is a file; a folder cannot take its place"),
    ],
)
def test_what_is_no_archive_is_never_replaced(
    occupy: Callable[[Options], Options], message: str, options: Options
) -> None:
    options = occupy(options)
    with pytest.raises(ExportError, match=message):
        export(options)
    kept = options.archive / "thesis.txt" if options.archive.is_dir() else options.archive
    assert kept.read_text() == "precious"


def test_tensors_that_are_no_part_of_lseg_are_dropped_only_where_asked(
    options: Options, small_net: LSeg, caplog: pytest.LogCaptureFixture
) -> None:
    """A criterion beside the network and a running average of it, both of which are named."""
    content = lightning_checkpoint(small_net, ema=langseg_tensors(random_network(SMALL, seed=1)))
    content["state_dict"]["criterion.weight"] = torch.ones(3)
    options = replace(options, checkpoint=options.output.parent / "extra.ckpt")
    torch.save(content, options.checkpoint)
    with pytest.raises(ExportError, match=r"of which 2 are a whole LSeg: 'state_dict\.net' .*; 'ema' "):
        export(options)
    with pytest.raises(ExportError, match=r"not part of LSeg: criterion\.weight; the export's --ignore-extra drops"):
        export(replace(options, tensors="state_dict.net"))
    with caplog.at_level("INFO"):
        summary = export(replace(options, ignore_extra=True))
    assert "ignored, for it is no part of LSeg: criterion.weight, ema" in caplog.text
    served, expected = Segmenter.load(summary.archive), small_net.encode_labels(["cat"])
    torch.testing.assert_close(served.text_cache.embeddings(["cat"]), expected, rtol=0, atol=1e-5)


def test_the_command_takes_both_options_and_refuses_in_one_line(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(options.checkpoint), "--tensors", "ema", "--ignore-extra", "--output", str(options.output)]
    assert main(command) == 3
    assert capsys.readouterr().err.endswith(f"{options.checkpoint}: tensors is 'ema'; accepted: 'state_dict.net'\n")
    assert not _left(options)


def _bad_labels(options: Options) -> Options:
    Path(options.labels).write_text("cat\ncat\n")
    return options


def _bad_config(options: Options) -> Options:
    config = options.output.parent / "config.yaml"
    config.write_text("minWorkers: 2\n")
    return replace(options, config=config)


def _no_checkpoint(options: Options) -> Options:
    return replace(options, checkpoint=options.checkpoint.with_name("absent.ckpt"))


def _a_file_for_the_output(options: Options) -> Options:
    options.output.write_text("")
    return options


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_no_checkpoint, r"absent\.ckpt: no such file"),
        (_bad_labels, "label 'cat' is given twice"),
        (_bad_config, "minWorkers and maxWorkers must be given together"),
        (_a_file_for_the_output, "cannot write to"),
        (lambda options: replace(options, labels="cocoa"), "accepted: ade20k, ade20k-published, .*, or a file"),
        (lambda options: replace(options, name="../lseg"), r"name is '\.\./lseg'"),
        (lambda options: replace(options, version="1/0"), "version is '1/0'"),
        (lambda options: replace(options, arch_option=1), "arch_option is 1"),
    ],
)
def test_what_cannot_be_exported_is_named(change: Callable[[Options], Options], message: str, options: Options) -> None:
    with pytest.raises(ExportError, match=message):
        export(change(options))
    assert not options.output.is_dir() or not _left(options)


def test_an_archive_that_computes_something_else_is_refused(options: Options, fragile_checkpoint: Path) -> None:
    export(options)
    before = options.archive.read_bytes()
    with pytest.raises(ToleranceError, match=r"logits differ by up to \d.*; accepted for bfloat16: 0\.5"):
        export(replace(options, checkpoint=fragile_checkpoint, precision="bfloat16"))
    assert _left(options) == ["lseg.mar"]
    assert options.archive.read_bytes() == before


def test_a_checked_archive_must_carry_its_own_code(options: Options, small_net: LSeg, tmp_path: Path) -> None:
    """The check runs in a checkout, whose code must not stand in for what the archive lacks."""
    archive = export(replace(options, archive_format="no-archive")).archive
    reference = Reference.of(small_net, ("cat", "traffic light"), PIXELS)
    assert verify(archive, reference, "float32", tmp_path).largest < 1e-3
    shutil.rmtree(archive / "lseg_serve" / "segmenter")
    with pytest.raises(ExportError, match=r"does not load as a worker would load it: .*segmenter"):
        verify(archive, reference, "float32", tmp_path)


def _start(options: Options, *wrapper: str) -> subprocess.Popen[str]:
    command = [*wrapper, sys.executable, "-m", "export", str(options.checkpoint), "--output", str(options.output)]
    command += ["--precision", "float32"]
    return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_export_leaves_nothing(number: signal.Signals, options: Options) -> None:
    process = _start(options)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[5/5]"):
            break
    process.send_signal(number)
    assert process.wait(60) == 130
    assert "interrupted; nothing was left behind" in process.stderr.read()
    process.stderr.close()
    assert not _left(options)


def test_an_export_under_nohup_outlives_its_terminal(options: Options) -> None:
    process = _start(options, "nohup")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[5/5]"):
            break
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0, process.stderr.read()
    process.stderr.close()
    assert _left(options) == ["lseg.mar"]


def test_an_export_in_a_thread_takes_no_signals(options: Options) -> None:
    """Python lets only the main thread take them."""
    with ThreadPoolExecutor() as pool:
        assert pool.submit(export, options).result(timeout=120).archive.is_file()
    assert _left(options) == ["lseg.mar"]


def test_what_a_killed_export_left_is_cleared_by_the_next(options: Options) -> None:
    process = _start(options)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[5/5]"):
            break
    process.kill()
    process.wait(60)
    process.stderr.close()
    assert [name for name in _left(options) if name.startswith(".lseg-export-")]
    export(options)
    assert _left(options) == ["lseg.mar"]


_WITH_A_FULL_DISK = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))  # no file can grow beyond, as on a full disk
runpy.run_module("export", run_name="__main__")
"""


def test_a_full_disk_is_reported_and_leaves_nothing(options: Options) -> None:
    command = [sys.executable, "-c", _WITH_A_FULL_DISK, str(options.checkpoint), "--output", str(options.output)]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=os.environ)
    assert run.returncode == 1
    assert "export failed: cannot write to" in run.stderr
    assert not _left(options)


def test_too_little_space_is_found_before_anything_is_written(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000_000})())
    with pytest.raises(ExportError, match=r"has 1\.00MB free; up to \d\d\.\dMB are needed"):
        export(options)
    assert not _left(options)
