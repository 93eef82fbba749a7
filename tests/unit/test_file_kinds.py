"""What is no checkpoint is told by its name, with what to do, and never with torch's advice to load it unsafely."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lseg_serve.model import CheckpointError, LSeg, read_checkpoint
from tests.conftest import PROJECT
from tests.support.networks import save_checkpoint

QUOTA = (
    '<!DOCTYPE html><html><head><title>Google Drive - Quota\n exceeded</title><meta charset="utf-8"/></head><body>'
    + "<p>Sorry, you can't view or download this file at this time.</p>" * 50
    + "</body></html>"
)


def _whole_module(path: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), path)


def _whole_module_in_a_dictionary(path: Path) -> None:
    torch.save({"epoch": 1, "model": torch.nn.Linear(2, 2)}, path)


def _whole_module_in_the_old_format(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=False)


def _zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "content")


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("model.ckpt"), io.BytesIO())


def _npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, weights=np.zeros(3))


def _folder(path: Path, *names: str) -> None:
    path.mkdir()
    for name in names:
        (path / name).write_bytes(b"x")


def _text(content: str, encoding: str = "utf-8") -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content.encode(encoding))


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a whole module": (_whole_module, r"whole module \(torch\.nn\.modules\.container\.Sequential\).*state_dict\(\)"),
    "a whole module in a dictionary": (_whole_module_in_a_dictionary, r"whole module \(torch\.nn\.modules\.linear"),
    "a whole module of old": (_whole_module_in_the_old_format, r"whole module \(torch\.nn\.modules\.linear"),
    "a TorchScript file": (lambda path: _zip(path, "m/constants.pkl", "m/data.pkl"), "a TorchScript file, which holds"),
    "HTML": (_text(QUOTA), r"an HTML page \(Google Drive - Quota exceeded\); download the file itself again"),
    "HTML after a line end": (_text("\r\n\r\n  " + QUOTA), r"an HTML page \(Google Drive - Quota exceeded\)"),
    "HTML after a BOM": (_text("\ufeff\n" + QUOTA), r"an HTML page \(Google Drive - Quota exceeded\)"),
    "HTML in UTF-16": (_text("\ufeff" + QUOTA, "utf-16-le"), r"an HTML page \(Google Drive - Quota exceeded\)"),
    "HTML that writes to the terminal": (_text("<HTML><title>\x1b[2Jx</title>"), r"HTML page \(\\x1b\[2Jx\)"),
    "XML": (_text("<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>"), "an XML document, often a server's"),
    "an LFS pointer": (
        _text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"),
        "a Git LFS pointer, .* run `git lfs pull`",
    ),
    "JSON": (_text('{"weight_map": {}}'), "a JSON document; name the file of the tensors"),
    "text": (_text("Grüße\tvon hier\n"), "not a checkpoint but text"),
    "nothing": (_bytes(b""), "an empty file; download the file itself again"),
    "zeros": (_bytes(bytes(10_000)), "begins with zeros, as an interrupted download leaves it"),
    "a folder": (_folder, "a folder; name the checkpoint in it: it holds none"),
    "a folder of checkpoints": (lambda path: _folder(path, "b.ckpt", "a.pt"), "a folder; .* it holds a.pt, b.ckpt"),
    "the folder of a model": (lambda path: _folder(path, "lseg.json"), "the folder of an exported model already"),
    "gzip": (_bytes(gzip.compress(b"x" * 100)), "a gzip archive; unpack it"),
    "bzip2": (_bytes(bz2.compress(b"x" * 100)), "a bzip2 archive; unpack it"),
    "xz": (_bytes(lzma.compress(b"x" * 100)), "an xz archive; unpack it"),
    "7-Zip": (_bytes(b"7z\xbc\xaf\x27\x1c\x00\x04"), "a 7-Zip archive; unpack it"),
    "tar": (_tar, "a tar archive; unpack it"),
    "a zip archive": (lambda path: _zip(path, "model/demo.ckpt"), "a zip archive that holds model/demo.ckpt and not"),
    "a .mar": (lambda path: _zip(path, "MAR-INF/MANIFEST.json", "lseg.json"), "an exported model .* already; serve it"),
    "NumPy's npz": (_npz, "a zip archive that holds weights.npy"),
    "NumPy's npy": (lambda path: _bytes(b"\x93NUMPY\x01\x00")(path), "a NumPy array"),
    "HDF5": (_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "an HDF5 file, as Keras writes them"),
    "ONNX": (_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.3.0:" + bytes(100)), "an ONNX model"),
    "TensorFlow Lite": (_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(100)), "a TensorFlow Lite model"),
    "GGUF": (_bytes(b"GGUF\x03\x00\x00\x00"), "a GGUF file"),
    "an image": (_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)), "a PNG image"),
    "a pickle of another program": (_bytes(pickle.dumps({"a": 1})), r"\(RuntimeError: Invalid magic number"),
    "a short safetensors file": (_bytes(b"\xff\x00\x00\x00\x00\x00\x00\x00{\"a\":"), "not a readable checkpoint"),
    "other bytes": (_bytes(bytes(range(1, 256))), "not a readable checkpoint"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "message"), KINDS.values(), ids=KINDS)
def test_what_is_no_checkpoint_is_told_in_its_own_words(
    write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.ckpt"
    write(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "weights_only" not in text
    assert text.isprintable()


def test_no_code_of_a_torchscript_file_is_loaded_whatever_its_zip_reader_sees(tmp_path: Path) -> None:
    """torch.load hands such a file on to torch.jit.load; torch's own list of its entries decides."""
    path = tmp_path / "script.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer torch would rather have something else written
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(CheckpointError, match="a TorchScript file, which holds code"):
        read_checkpoint(path)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_a_truncated_file_is_called_a_part(share: float, small_net: LSeg, tmp_path: Path) -> None:
    path = save_checkpoint(small_net, tmp_path / "cut.ckpt")
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(CheckpointError, match=r"a part of a zip archive: .* download the file itself again"):
        read_checkpoint(path)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="has no device files")
def test_a_device_is_no_file() -> None:
    with pytest.raises(CheckpointError, match="/dev/null: not a file with content"):
        read_checkpoint("/dev/null")


def test_the_command_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "page.ckpt").write_text("\r\n" + QUOTA, encoding="utf-8")
    command = [sys.executable, "-m", "export", str(tmp_path / "page.ckpt"), "--output", str(tmp_path / "store")]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 3
    assert "page.ckpt: not a checkpoint but an HTML page (Google Drive - Quota exceeded)" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "store").exists()
