"""`lseg batch run`, `status`, `merge` and `retry`: shards through a small network, and what may go wrong with them."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the extra batch is not installed")
pytest.importorskip("fsspec", reason="the extra batch is not installed")

import pyarrow.parquet as pq
from PIL import Image
from pycocotools import mask as coco

from lseg_serve.batch.decoding import Decoder, DecoderKilledError
from lseg_serve.batch.errors import BatchError, StoreError
from lseg_serve.batch.options import Options
from lseg_serve.batch.output import Output
from lseg_serve.batch.shard import Spec, Worker
from lseg_serve.batch.source import plan
from lseg_serve.batch.stores import Store
from lseg_serve.batch.summary import merge, retry, state_of
from lseg_serve.cli.main import main
from lseg_serve.embeddings import Embeddings
from lseg_serve.handler.formats.png import mask_png
from lseg_serve.model import LSeg
from lseg_serve.segmenter import InvalidImageError, Job, Segmentation, Segmenter
from tests.conftest import PROJECT
from tests.support.batches import DECODE, DECODE_LIMIT, KILLER, LABELS, write_archive, write_images

IMAGES, BROKEN, FATAL = 23, "0005.jpg", "0013.jpg"


@pytest.fixture(scope="module")
def folder(small_net: LSeg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, one of them broken and one fatal, their manifest of three shards, and a model."""
    root = tmp_path_factory.mktemp("batch")
    write_images(root / "in", IMAGES)
    (root / "in" / BROKEN).write_bytes(b"no image")
    with (root / "in" / FATAL).open("ab") as file:
        file.write(KILLER)
    plan(str(root / "in"), str(root / "m.parquet"), 10, (".jpg",), pytest.fail)
    write_archive(small_net, root / "lseg.mar")
    return root


@pytest.fixture(scope="module")
def spec(folder: Path) -> Spec:
    """A run of them."""
    model, manifest, output = folder / "lseg.mar", folder / "m.parquet", folder / "out"
    return Spec(str(manifest), str(output), str(model), Options(LABELS), decoders=2, decode=DECODE)


@pytest.fixture(scope="module")
def worker(spec: Spec) -> Iterator[Worker]:
    """One that has run every shard."""
    worker = Worker(spec)
    for shard in range(3):
        assert worker.run(shard) is not None
    yield worker
    worker.close()


def _rows(output: str | Path, shard: int, folder: str = "masks") -> list[dict[str, Any]]:
    return list(pq.read_table(Path(output) / folder / f"shard-{shard:06d}.parquet").to_pylist())


def _all(output: str | Path, folder: str = "masks") -> list[dict[str, Any]]:
    return [row for shard in range(3) for row in _rows(output, shard, folder)]


def test_every_image_has_the_mask_that_a_segmenter_gives_it(spec: Spec, folder: Path, worker: Worker) -> None:
    segmenter = Segmenter.load(spec.model)
    rows = _all(spec.output)
    names = sorted(path.name for path in (folder / "in").iterdir())
    assert [row["key"] for row in rows] == [name for name in names if name not in (BROKEN, FATAL)]
    for row in rows:
        mask = segmenter.segment(folder / "in" / row["key"], LABELS).mask
        assert row["mask"] == mask_png(mask, LABELS)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(row["mask"]))), mask)
        assert (row["height"], row["width"]) == mask.shape
        assert row["shares"] == [float((mask == index).mean()) for index in range(len(LABELS))]


def test_what_failed_is_listed_and_why(spec: Spec, worker: Worker) -> None:
    failed = {row["key"]: row for row in _all(spec.output, "status") if row["status"] == "failed"}
    assert set(failed) == {BROKEN, FATAL}
    assert failed[BROKEN]["type"] == "unsupported_image"
    assert failed[FATAL]["type"] == "killed"
    assert failed[FATAL]["message"] == "the process that decodes it was ended by SIGSEGV, 2 times"
    assert [row["index"] for row in _rows(spec.output, 1, "status")] == list(range(10))


def test_the_table_tells_model_options_and_legend(spec: Spec, worker: Worker) -> None:
    about = json.loads(pq.read_schema(Path(spec.output) / "masks" / "shard-000000.parquet").metadata[b"lseg-batch"])
    assert [entry["name"] for entry in about["legend"]] == list(LABELS)
    digest = subprocess.run(["sha256sum", spec.model], capture_output=True, text=True, check=True).stdout.split()[0]
    assert about["model"] == {"name": "lseg.mar", "sha256": digest}
    assert about["options"] == {
        "labels": list(LABELS), "template": [], "mode": "fast", "threshold": 0.0, "format": "png", "scores": False,
    }  # fmt: skip


def test_state_and_merged_table(spec: Spec, worker: Worker) -> None:
    output = Output(spec.output)
    state = state_of(output)
    assert (state.shards_done, state.images, state.ok) == (3, IMAGES, IMAGES - 2)
    assert state.failed == {"killed": 1, "unsupported_image": 1}
    assert state.is_complete and state.rate and state.seconds_left is None and not state.killed
    name, rows = merge(output)
    table = pq.read_table(Path(spec.output) / name).to_pylist()
    assert rows == IMAGES == len(table)
    assert [(row["shard"], row["index"]) for row in table] == [(n // 10, n % 10) for n in range(IMAGES)]


def test_done_shards_are_skipped_and_other_choices_refused(spec: Spec, worker: Worker, small_net: LSeg) -> None:
    assert worker.run(0) is None
    for options, message in (
        (Options(("cat", "dog")), "another options: labels was"),
        (Options(LABELS, threshold=0.5), "threshold was '0.0' and is '0.5' now"),
        (Options(LABELS, format="rle"), "format was 'png' and is 'rle' now; accepted: the same as before"),
    ):
        with pytest.raises(BatchError, match=message):
            Worker(replace(spec, options=options))
    other = write_archive(small_net, Path(spec.model).with_name("other.mar"))
    with pytest.raises(BatchError, match="results of another model: sha256"):
        Worker(replace(spec, model=str(other)))


def _empty(spec: Spec, output: Path, **changes: Any) -> Spec:
    return replace(spec, output=str(output), **changes)


def test_a_shard_alone_gives_the_same_bytes(spec: Spec, worker: Worker, tmp_path: Path) -> None:
    own = Worker(_empty(spec, tmp_path, decoders=1))
    own.run(2)
    own.close()
    for name in ("masks", "status"):
        path = Path(name) / "shard-000002.parquet"
        assert (tmp_path / path).read_bytes() == (Path(spec.output) / path).read_bytes()
    assert not list(tmp_path.rglob("*.part"))


def test_retry_computes_only_what_failed(spec: Spec, folder: Path, worker: Worker, tmp_path: Path) -> None:
    shutil.copytree(spec.output, tmp_path / "out")
    output = Output(str(tmp_path / "out"))
    assert retry(output, ["killed"]) == [1]
    assert retry(output) == [0]
    state = state_of(output)
    assert (state.shards_done, state.ok) == (1, 3)
    own = Worker(_empty(spec, tmp_path / "out", decode="lseg_serve.batch.decoding:decode"))
    done = own.run(1)
    own.close()
    assert done is not None and (done.ok, done.failed, done.computed) == (10, 0, 1)
    rows, before = _rows(output.store.root, 1), _rows(spec.output, 1)
    assert [row["key"] for row in rows if row not in before] == [FATAL]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder
def test_other_results(spec: Spec, folder: Path, worker: Worker, tmp_path: Path) -> None:
    own = Worker(_empty(spec, tmp_path / "rle", options=Options(LABELS, None, "accurate", 0.4, "rle", True)))
    own.run(2)
    own.close()
    for row in _rows(tmp_path / "rle", 2):
        result = own.segmenter.segment(folder / "in" / row["key"], LABELS, threshold=0.4, mode="accurate")
        decoded = np.full(result.mask.shape, 255, dtype=np.uint8)
        for part in row["rle"]:
            counts = {"size": [row["height"], row["width"]], "counts": part["counts"].encode()}
            decoded[coco.decode(counts).astype(bool)] = part["label"]
        assert np.array_equal(decoded, result.mask)
        assert len(row["scores"]) == len(LABELS)
    own = Worker(_empty(spec, tmp_path / "embeddings", options=Options(format="embeddings")))
    own.run(2)
    own.close()
    row = _rows(tmp_path / "embeddings", 2)[0]
    expected = own.segmenter.embed(folder / "in" / row["key"])
    assert np.array_equal(Embeddings.unpacked(row["embeddings"]).vectors, expected.vectors)


def _run_and_die(spec: Spec) -> None:
    """Run the first shard in this process, which ends at the image of 96 x 96 pixels, as a driver may end it."""

    class Dying(Segmenter):
        def segment_batch(self, jobs: Sequence[Job]) -> list[Segmentation]:
            if jobs[0].image.shape == (96, 96, 3):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().segment_batch(jobs)

    own = Worker(spec)
    own.segmenter.__class__ = Dying
    own.run(0)
    own.close()


def _exit_status(spec: Spec) -> int | None:
    process = multiprocessing.get_context("forkserver").Process(target=_run_and_die, args=(spec,))
    process.start()
    process.join(120)
    return process.exitcode


@pytest.mark.slow
def test_an_image_that_ends_the_whole_process_is_given_up(spec: Spec, folder: Path, tmp_path: Path) -> None:
    keys = [f"{number:04d}.jpg" for number in range(4)]  # the third one is 96 x 96
    for key in keys:
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(folder / "in" / key, tmp_path / "in" / key)
    plan(str(tmp_path / "in"), str(tmp_path / "m.parquet"), 10, (".jpg",), pytest.fail)
    own = _empty(spec, tmp_path / "out", manifest=str(tmp_path / "m.parquet"))
    assert [_exit_status(own) for _ in range(3)] == [-signal.SIGKILL, -signal.SIGKILL, 0]
    status = {row["key"]: row for row in _rows(tmp_path / "out", 0, "status")}
    assert [status[key]["type"] for key in keys] == [None, None, "killed", None]
    assert "the process ended twice while this image was on its way" in status["0002.jpg"]["message"]
    assert not list((tmp_path / "out" / "attempts").iterdir())


def test_an_image_that_changed_or_went_since_the_plan_is_told(spec: Spec, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "in", tmp_path / "in")
    plan(str(tmp_path / "in"), str(tmp_path / "m.parquet"), 10, (".jpg",), pytest.fail)
    (tmp_path / "in" / "0000.jpg").unlink()
    with (tmp_path / "in" / "0001.jpg").open("ab") as file:
        file.write(b"x")
    own = Worker(_empty(spec, tmp_path / "out", manifest=str(tmp_path / "m.parquet")))
    own.run(0)
    own.close()
    first, second = _rows(tmp_path / "out", 0, "status")[:2]
    assert (first["type"], first["message"]) == ("missing", "it is not there any more")
    assert second["type"] == "changed" and "when the manifest was made" in second["message"]


def test_an_image_without_memory_for_it_fails_alone(spec: Spec, tmp_path: Path) -> None:
    tries, held = [], []

    class Short(Segmenter):
        def segment_batch(self, jobs: Sequence[Job]) -> list[Segmentation]:
            tries.append(len(jobs))
            if jobs[0].image.shape == (96, 96, 3):
                raise MemoryError
            return super().segment_batch(jobs)

        def free_memory(self) -> None:
            held.append(sys.exc_info()[0])
            super().free_memory()

    own = Worker(_empty(spec, tmp_path / "out"))
    own.segmenter.__class__ = Short
    done = own.run(2)
    own.close()
    failed = [row for row in _rows(tmp_path / "out", 2, "status") if row["status"] == "failed"]
    assert done is not None and (done.ok, done.failed) == (2, 1)
    assert [(row["key"], row["type"]) for row in failed] == [("0020.jpg", "out_of_memory")]
    assert tries.count(1) >= 2
    assert held == [None, None]  # an error's traceback would hold what the try had allocated


def test_the_configuration_alone_limits_the_pixels() -> None:
    """As at the endpoint. Pillow's own limit, 89 million, is a warning's: at 179 it refuses."""
    decoder = Decoder(10**9, DECODE_LIMIT)
    try:
        assert decoder.decode(b"").shape == (1, 1, 3)
    finally:
        decoder.close()


def test_a_decoder_that_died_is_replaced(folder: Path) -> None:
    decoder = Decoder(10**6, DECODE)
    try:
        good = (folder / "in" / "0000.jpg").read_bytes()
        assert decoder.decode(good).shape == (48, 64, 3)
        with pytest.raises(DecoderKilledError, match="SIGSEGV, 2 times"):
            decoder.decode(good + KILLER)
        assert decoder.decode(good).shape == (48, 64, 3)
        with pytest.raises(InvalidImageError):
            decoder.decode(good[:100])
        assert decoder.decode(good).shape == (48, 64, 3)
    finally:
        decoder.close()


def test_decoders_that_cannot_start_end_the_run_and_blame_no_image(folder: Path) -> None:
    decoder = Decoder(10**6, "tests.support.absent:decode")
    with pytest.raises(BatchError, match="end at their start"):
        decoder.decode((folder / "in" / "0000.jpg").read_bytes())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_told_and_the_run_goes_on_from_there(spec: Spec, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        own = Worker(_empty(spec, place / "out"))
        filler = place / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(place).free - 12_000))
        with pytest.raises(StoreError, match="no space is left") as caught:
            own.run(0)
        assert caught.value.is_full
        assert not list(place.rglob("*.part"))
        filler.unlink()
        done = own.run(0)
        own.close()
        assert done is not None and (done.ok, done.failed) == (9, 1)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_store_that_refuses_is_told_at_once_and_one_that_falters_is_tried_again(tmp_path: Path) -> None:
    class Faltering:
        def __init__(self, *errors: Exception) -> None:
            self.left = list(errors)

        def cat_file(self, path: str) -> bytes:
            if self.left:
                raise self.left.pop(0)
            return b"content"

    assert Store(Faltering(OSError("slow down")), "bucket", "s3://bucket").read("key") == b"content"
    denied = Faltering(PermissionError("Forbidden"), OSError("not reached"))
    with pytest.raises(
        StoreError, match=r"s3://bucket/key cannot be read: access is denied \(Forbidden\); renew the cred"
    ):
        Store(denied, "bucket", "s3://bucket").read("key")
    assert len(denied.left) == 1


def test_the_command_from_plan_to_merge(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, output = str(folder / "m.parquet"), str(tmp_path / "out")
    options = ["--model", str(folder / "lseg.mar"), "--labels", ",".join(LABELS), "--decoders", "1"]
    assert main(["batch", "merge", output]) == 3
    assert "no output; accepted: a folder that `lseg batch run` writes to" in capsys.readouterr().err
    assert main(["batch", "run", manifest, output, *options, "--shard", "7"]) == 3
    assert "there is no shard 7; accepted: 0 to 2" in capsys.readouterr().err
    assert main(["batch", "run", manifest, output, *options, "--part", "1/2"]) == 0
    assert [json.loads(line)["shard"] for line in capsys.readouterr().out.splitlines()] == [1]
    assert main(["batch", "merge", output]) == 3
    assert "2 of 3 shards are not done, the first is 0" in capsys.readouterr().err
    assert main(["batch", "run", manifest, output, *options]) == 0
    assert [json.loads(line)["shard"] for line in capsys.readouterr().out.splitlines()] == [0, 2]
    assert main(["batch", "status", output]) == 5
    assert f"  {BROKEN}: unsupported_image: " in capsys.readouterr().out
    assert main(["batch", "merge", output, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == IMAGES
    assert main(["batch", "retry", output, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shards"] == [0]


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_mark_and_a_killed_one_does(spec: Spec, folder: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "lseg_serve.cli", "batch", "run", spec.manifest, str(tmp_path / "out"),
        "--model", spec.model, "--decoders", "1", "--mode", "accurate",
    ]  # fmt: skip
    for number, left in ((signal.SIGTERM, 0), (signal.SIGKILL, 1)):
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while not list(tmp_path.rglob("attempts/*/*.json")) and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(number)
            assert process.wait(60) == (130 if number == signal.SIGTERM else -number)
        assert len(list(tmp_path.rglob("attempts/*/*.json"))) == left
