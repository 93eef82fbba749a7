"""Unpacking an archive writes plain files below the folder that was asked for, whatever the archive says."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lseg_serve.segmenter.archive import unpack
from lseg_serve.segmenter.errors import ArchiveError


def _file(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = len(b"hello")
    return entry


def _special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo("special")
    entry.type, entry.linkname = kind, target
    return entry


HOSTILE = {
    "above the folder": lambda outside: [_file("../outside.txt")],
    "above it by way of a folder": lambda outside: [_file("lseg/../../outside.txt")],
    "an absolute path": lambda outside: [_file(str(outside))],
    "a symbolic link": lambda outside: [_special(tarfile.SYMTYPE, "lseg.json")],
    "a symbolic link, and a file through it": lambda outside: [
        _special(tarfile.SYMTYPE, str(outside.parent)),
        _file("special/outside.txt"),
    ],
    "a hard link": lambda outside: [_special(tarfile.LNKTYPE, "lseg.json")],
    "a character device": lambda outside: [_special(tarfile.CHRTYPE)],
    "a block device": lambda outside: [_special(tarfile.BLKTYPE)],
    "a pipe": lambda outside: [_special(tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE)
def test_a_tar_with_anything_but_plain_files_inside_it_is_refused(
    tmp_path: Path, entries: Callable[[Path], list[tarfile.TarInfo]]
) -> None:
    archive, folder, outside = tmp_path / "lseg.tar.gz", tmp_path / "unpacked", tmp_path / "outside.txt"
    with tarfile.open(archive, "w:gz") as tar:
        for entry in [_file("lseg.json"), *entries(outside)]:
            tar.addfile(entry, io.BytesIO(b"hello") if entry.isfile() else None)
    folder.mkdir()
    with pytest.raises(ArchiveError, match="is no plain file inside the archive"):
        unpack(archive, folder)
    assert not outside.exists()
    assert [path for path in folder.rglob("*") if not path.is_file() or path.is_symlink()] in ([], [folder / "lseg"])


def test_a_tar_is_unpacked_as_it_was_packed(tmp_path: Path) -> None:
    """Also entries that begin with `./`, as `tar czf x.tar.gz .` writes them."""
    packed, folder = tmp_path / "packed", tmp_path / "unpacked"
    (packed / "code" / "empty").mkdir(parents=True)
    (packed / "lseg.json").write_bytes(b"{}")
    (packed / "code" / "handler.py").write_bytes(b"pass\n" * 3_000_000)  # more than is copied at a time
    with tarfile.open(tmp_path / "lseg.tar.gz", "w:gz") as tar:
        tar.add(packed, "./")
    folder.mkdir()
    assert unpack(tmp_path / "lseg.tar.gz", folder) == folder
    assert {path.relative_to(folder) for path in folder.rglob("*")} == {
        path.relative_to(packed) for path in packed.rglob("*")
    }
    assert (folder / "code" / "handler.py").read_bytes() == (packed / "code" / "handler.py").read_bytes()


def test_a_mar_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "unpacked"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "lseg.mar", "w") as mar:
        for name in ("lseg.json", "../outside.txt", "../../outside.txt", str(tmp_path / "absolute.txt")):
            mar.writestr(name, "hello")
    assert unpack(tmp_path / "lseg.mar", folder) == folder
    assert list((tmp_path / "deep").iterdir()) == [folder]
    assert not (tmp_path / "outside.txt").exists() and not (tmp_path / "absolute.txt").exists()
