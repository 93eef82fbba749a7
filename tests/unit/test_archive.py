"""Archives of any content: unpacked below the folder that was asked for alone, and read whole or refused."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lseg_serve.model.weights import save_weights
from lseg_serve.segmenter import Segmenter
from lseg_serve.segmenter.archive import Archive, unpack
from lseg_serve.segmenter.errors import ArchiveError
from tests.support.networks import SMALL, random_network


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


MANIFEST: dict[str, Any] = {
    "format": 1,
    "precision": "float32",
    "label_set": {"name": "two", "labels": ["cat", "dog"]},
    "checkpoint": {"sha256": "0"},
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small exported model, without the code in it."""
    folder = tmp_path_factory.mktemp("archive")
    net = random_network(SMALL)
    save_weights(net, net.architecture, folder / "weights.safetensors")
    _write_embeddings(folder, torch.eye(2, SMALL.embedding))
    (folder / "model-config.yaml").write_text("")
    (folder / "lseg.json").write_text(json.dumps(MANIFEST))
    return folder


def _write_embeddings(folder: Path, embeddings: torch.Tensor, name: str = "embeddings") -> None:
    save_file({name: embeddings}, folder / "labels.safetensors")


def test_a_whole_archive_is_read(archive: Path) -> None:
    found = Archive.read(archive)
    assert found.labels == ("cat", "dog")
    assert Segmenter.load(archive).label_set == ("cat", "dog")


ODD_MANIFESTS: dict[str, tuple[str, str]] = {
    "nothing": ("", "Expecting value"),
    "no JSON": ("{", "Expecting property name"),
    "a list": ("[]", "lseg.json holds a list; accepted: keys and values"),
    "null": ("null", "lseg.json holds a NoneType"),
    "a number": ("7", "lseg.json holds a int"),
    "a text": ('"format"', "lseg.json holds a str"),
    "deep": ("[" * 200_000, "recursion"),
    "a number of many digits": ('{"format": ' + "9" * 5000 + "}", "digits"),
    "no format": ("{}", "archive format None; this version reads 1"),
    "another format": (json.dumps({**MANIFEST, "format": 2}), "archive format 2; this version reads 1"),
    "a format that is a text": (json.dumps({**MANIFEST, "format": "1"}), "archive format '1'"),
    "a format that is true": (json.dumps({**MANIFEST, "format": True}), "archive format True"),
    "a format that is a list": (json.dumps({**MANIFEST, "format": [[1]] * 1000}), "archive format "),
    "no label set": (json.dumps({"format": 1, "precision": "float32"}), "label_set is .*: Field required"),
    "a label set that is a list": (json.dumps({**MANIFEST, "label_set": ["cat"]}), r"label_set is \['cat'\]"),
    "no labels": (json.dumps({**MANIFEST, "label_set": {}}), "label_set.labels is "),
    "an empty list of labels": (json.dumps({**MANIFEST, "label_set": {"labels": []}}), r"labels is \[\]: "),
    "labels that are a text": (json.dumps({**MANIFEST, "label_set": {"labels": "cat"}}), "labels is 'cat': "),
    "labels that are null": (json.dumps({**MANIFEST, "label_set": {"labels": None}}), "labels is None: "),
    "a label that is a number": (json.dumps({**MANIFEST, "label_set": {"labels": ["cat", 7]}}), "labels.1 is 7: "),
    "an empty label": (json.dumps({**MANIFEST, "label_set": {"labels": ["cat", ""]}}), "labels.1 is '': "),
    "half a character": ('{"format": 1, "label_set": {"labels": ["\\ud800", "b"]}, "precision": "int8"}', "labels.0"),
    "no precision": (json.dumps({key: MANIFEST[key] for key in ("format", "label_set")}), "precision is .*required"),
    "a precision that is not one": (json.dumps({**MANIFEST, "precision": "float64"}), "precision is 'float64': "),
    "a precision that is a list": (json.dumps({**MANIFEST, "precision": ["int8"]}), r"precision is \['int8'\]: "),
    "a checkpoint that is a text": (json.dumps({**MANIFEST, "checkpoint": "a.ckpt"}), "checkpoint is 'a.ckpt': "),
    "more labels than embeddings": (
        json.dumps({**MANIFEST, "label_set": {"labels": ["a", "b", "c"]}}),
        r"embeddings are torch.float32 \[2, 48\]; accepted: torch.float32 \[3, 48\], a row for each label",
    ),
}


@pytest.mark.parametrize(("text", "message"), ODD_MANIFESTS.values(), ids=ODD_MANIFESTS)
def test_an_odd_manifest_is_an_archive_error(text: str, message: str, archive: Path, tmp_path: Path) -> None:
    for file in archive.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "lseg.json").write_text(text)
    with pytest.raises(ArchiveError, match=message) as caught:
        Segmenter.load(tmp_path)
    assert len(str(caught.value)) < 1000


def test_a_manifest_that_is_no_text_is_an_archive_error(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "lseg.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(ArchiveError, match="not a complete LSeg archive"):
        Archive.read(tmp_path)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (torch.eye(2, 47), r"\[2, 47\]; accepted: torch.float32 \[2, 48\]"),
        (torch.eye(2, 48, dtype=torch.float64), r"torch.float64 \[2, 48\]; accepted"),
        (torch.ones(2), r"torch.float32 \[2\]; accepted"),
        (torch.full((2, 48), torch.nan), "another length than 1"),
        (torch.full((2, 48), torch.inf), "another length than 1"),
        (torch.zeros(2, 48), "another length than 1"),
    ],
    ids=["short", "float64", "flat", "NaN", "infinite", "zero"],
)
def test_embeddings_that_fit_neither_labels_nor_network_are_refused(
    embeddings: torch.Tensor, message: str, archive: Path, tmp_path: Path
) -> None:
    for file in archive.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    _write_embeddings(tmp_path, embeddings)
    with pytest.raises(ArchiveError, match=message):
        Archive.read(tmp_path)


def test_missing_or_damaged_files_of_an_archive_are_named(archive: Path, tmp_path: Path) -> None:
    for file in archive.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    _write_embeddings(tmp_path, torch.eye(2, SMALL.embedding), name="others")
    with pytest.raises(ArchiveError, match=r"labels\.safetensors has no embeddings"):
        Archive.read(tmp_path)
    (tmp_path / "labels.safetensors").write_bytes(b"cut")
    with pytest.raises(ArchiveError, match="not a complete LSeg archive"):
        Archive.read(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(ArchiveError, match=r"weights\.safetensors: no such file"):
        Archive.read(tmp_path)
