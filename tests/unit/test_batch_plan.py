"""`lseg batch plan`: what a manifest holds of folders, stores and tables, and its memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the extra batch is not installed")
pytest.importorskip("fsspec", reason="the extra batch is not installed")

import fsspec
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from lseg_serve.batch.errors import BatchError
from lseg_serve.batch.grouping import in_shards
from lseg_serve.batch.listing import Entry
from lseg_serve.batch.manifest import Manifest, write_manifest
from lseg_serve.batch.source import plan, reader
from lseg_serve.cli.main import main
from tests.support.batches import write_images

SUFFIXES = (".jpg", ".png")


def _plan(source: object, manifest: Path, images: int = 10) -> Manifest:
    plan(str(source), str(manifest), images, SUFFIXES, pytest.fail)
    return Manifest(str(manifest))


def test_a_folder_is_planned_in_order_and_the_same_every_time(tmp_path: Path) -> None:
    write_images(tmp_path / "in" / "b", 7)
    write_images(tmp_path / "in" / "a", 6)
    for other in ("notes.txt", ".hidden.jpg"):
        (tmp_path / "in" / other).write_bytes(b"x")
    manifest = _plan(tmp_path / "in", tmp_path / "m.parquet", 5)
    keys = [entry.key for entry in manifest]
    assert keys == [f"{folder}/{number:04d}.jpg" for folder, count in (("a", 6), ("b", 7)) for number in range(count)]
    assert (manifest.about.images, manifest.about.shards) == (13, 3)
    assert [len(manifest.shard(shard)) for shard in range(3)] == [5, 5, 3]
    first = manifest.shard(0)[0]
    assert first.size == (tmp_path / "in" / first.key).stat().st_size
    _plan(tmp_path / "in", tmp_path / "again.parquet", 5)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "m.parquet").read_bytes()


def test_a_changed_image_changes_the_plan(tmp_path: Path) -> None:
    write_images(tmp_path / "in", 3)
    before = _plan(tmp_path / "in", tmp_path / "m.parquet").about.plan
    with (tmp_path / "in" / "0001.jpg").open("ab") as file:
        file.write(b"x")
    assert _plan(tmp_path / "in", tmp_path / "m.parquet").about.plan != before


def test_a_place_that_only_fsspec_knows_is_planned_and_read(tmp_path: Path) -> None:
    write_images(tmp_path / "in", 2)
    memory = fsspec.filesystem("memory")
    try:
        memory.put(str(tmp_path / "in"), "/bucket/photos", recursive=True)
        manifest = _plan("memory://bucket/photos", tmp_path / "m.parquet")
        assert [entry.key for entry in manifest] == ["0000.jpg", "0001.jpg"]
        assert reader(manifest.about)("0001.jpg") == (tmp_path / "in" / "0001.jpg").read_bytes()
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize("nested", [False, True])
def test_a_table_that_holds_images_is_a_source(nested: bool, tmp_path: Path) -> None:
    write_images(tmp_path / "in", 9)
    contents = [path.read_bytes() for path in sorted((tmp_path / "in").iterdir())]
    column = [{"bytes": one, "path": None} for one in contents] if nested else contents
    pq.write_table(pa.table({"image": column, "width": list(range(1, 10))}), tmp_path / "t.parquet", row_group_size=4)
    manifest = _plan(tmp_path / "t.parquet", tmp_path / "m.parquet")
    assert [entry.width for entry in manifest] == list(range(1, 10))
    read = reader(manifest.about)
    assert [read(entry.key) for entry in manifest] == contents
    with pytest.raises(FileNotFoundError, match="no row 9"):
        read("9")


def test_a_table_of_places_is_a_source(tmp_path: Path) -> None:
    write_images(tmp_path / "in", 2)
    places = ["in/0001.jpg", f"file://{tmp_path}/in/0000.jpg"]
    pq.write_table(pa.table({"path": places, "size": [1, 2]}), tmp_path / "t.parquet")
    manifest = _plan(tmp_path / "t.parquet", tmp_path / "m.parquet")
    assert [(entry.key, entry.size) for entry in manifest] == list(zip(places, [1, 2], strict=True))
    read = reader(manifest.about)
    assert read(places[0]) == (tmp_path / "in" / "0001.jpg").read_bytes()
    assert read(places[1]) == (tmp_path / "in" / "0000.jpg").read_bytes()


def test_images_of_one_shape_share_shards_where_sizes_are_known() -> None:
    shapes = ((640, 480), (480, 640), (None, None))
    entries = [Entry(str(number), None, None, *shapes[number % 3]) for number in range(30)]
    shards = list(in_shards(entries, 4))
    assert sorted(int(one.key) for shard in shards for one in shard) == list(range(30))
    kinds = [{(one.width, one.height) for one in shard} for shard in shards]
    assert [len(kind) for kind in kinds[:6]] == [1] * 6  # 4 of each kind, twice
    assert all(len(shard) == 4 for shard in shards[:-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent", "no image in it"),
        (lambda folder: folder / "absent.parquet", "no such file"),
        (lambda folder: "nonsense://bucket", "Protocol not known: nonsense"),
    ],
)
def test_what_is_no_source_is_refused(make, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BatchError, match=message):
        _plan(make(tmp_path), tmp_path / "m.parquet")
    assert not (tmp_path / "m.parquet").exists()


def test_a_table_without_images_is_refused_by_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"picture": [1]}), tmp_path / "t.parquet")
    with pytest.raises(BatchError, match="its columns are picture; accepted: image"):
        _plan(tmp_path / "t.parquet", tmp_path / "m.parquet")


def test_what_is_no_manifest_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.parquet").write_bytes(b"no parquet")
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "other.parquet")
    for name in ("m.parquet", "other.parquet", "absent.parquet"):
        assert main(["batch", "run", str(tmp_path / name), str(tmp_path / "out"), "--model", "absent.mar"]) == 3
        assert "accepted: a file that `lseg batch plan` wrote" in capsys.readouterr().err


def test_the_size_of_a_shard_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "in", 1)
    arguments = ["batch", "plan", str(tmp_path / "in"), "-o", str(tmp_path / "m.parquet"), "--shard-size"]
    assert main([*arguments, "1000000"]) == 3
    assert "a shard of 1000000 images is not accepted; accepted: 1 to 100000" in capsys.readouterr().err
    assert main([*arguments, "1", "--json"]) == 0
    assert '"images": 1, "shards": 1' in capsys.readouterr().out


def _growth(count: int, path: Path) -> int:
    """Megabytes by which this process has grown at most while it writes a manifest of `count` rows."""
    process = psutil.Process()
    before, peak = process.memory_info().rss, 0
    shapes = ((640, 480), (480, 640), (512, 512))

    def entries() -> Iterator[Entry]:
        nonlocal peak
        for number in range(count):
            if number % 5000 == 0:
                peak = max(peak, process.memory_info().rss)
            yield Entry(f"folder/{number:012d}.jpg", number, f"{number:032x}", *shapes[number % 3])

    about = write_manifest(str(path), "/source", "files", in_shards(entries(), 1000))
    assert Manifest(str(path)).shard(about.shards - 1)[-1].key.endswith(".jpg")
    return (max(peak, process.memory_info().rss) - before) >> 20


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    _growth(10_000, tmp_path / "first.parquet")  # what the libraries take once
    assert _growth(200_000, tmp_path / "m.parquet") < 40  # the rows themselves would take 60 and more
