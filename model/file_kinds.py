"""What a file is that is no checkpoint, in words, by its first bytes; and what to do about it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from lseg_serve.model.words import printable

_START = 4096  # bytes that are looked at
_TAR = slice(257, 262)  # where a tar archive has its name
_AGAIN = "download the file itself again"
_UNPACK = "unpack it, and name the checkpoint in it"

# (first bytes, what they are, what to do).
_SIGNATURES = (
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them", "LSeg is trained in PyTorch"),
    (b"GGUF", "a GGUF file", "name the PyTorch checkpoint"),
    (b"\x93NUMPY", "a NumPy array", "name the PyTorch checkpoint"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "name the checkpoint"),
    (b"\xff\xd8\xff", "a JPEG image", "name the checkpoint"),
    (b"%PDF-", "a PDF", "name the checkpoint"),
)
_ONNX = re.compile(rb"\x08[\x01-\x20]\x12[\x01-\x7f][\w .-]+", re.DOTALL)  # a version, then the name of its producer
_LFS = b"version https://git-lfs.github.com/spec/"
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def foreign_kind(path: Path) -> str | None:
    """What `path` is if it is no checkpoint, and what to do; None for what may be one.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_START)
    if not start:
        return "an empty file; " + _AGAIN
    if start.startswith(b"PK"):
        return _kind_of_zip(path)
    for signature, kind, remedy in _SIGNATURES:
        if start.startswith(signature):
            return f"{kind}; {remedy}"
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite model; LSeg is trained in PyTorch"
    if start[_TAR] == b"ustar":
        return "a tar archive; " + _UNPACK
    if not start.strip(b"\x00"):
        return "a file that begins with zeros, as an interrupted download leaves it; " + _AGAIN
    if _ONNX.match(start):
        return "an ONNX model; name the PyTorch checkpoint it was made from"
    return _kind_of_text(start)


def _kind_of_text(start: bytes) -> str | None:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = start.decode("utf-16", errors="replace")
    else:
        text = start.decode("utf-8-sig", errors="replace")
    text = text.lstrip()
    if text.encode(errors="replace").startswith(_LFS):
        return "a Git LFS pointer, which stands for the file; run `git lfs pull`"
    if re.match(r"<(!doctype\s+html|html|head|body)\b", text, re.IGNORECASE):
        title = _TITLE.search(text)
        named = f" ({printable(' '.join(title[1].split()))})" if title else ""
        return f"an HTML page{named}; {_AGAIN}"
    if b"\x00" in start or not all(character.isprintable() or character.isspace() for character in text):
        return None
    if text.startswith("<"):
        return f"an XML document, often a server's error; {_AGAIN}"
    if text.startswith(("{", "[")):
        return "a JSON document; name the file of the tensors"
    return f"text; {_AGAIN}"


def _kind_of_zip(path: Path) -> str | None:
    """The same for a zip archive, which is what torch.save writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return f"a part of a zip archive: of its {path.stat().st_size} bytes the last do not end one; {_AGAIN}"
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return "a TorchScript file, which holds code; save the tensors instead: torch.save(model.state_dict(), FILE)"
    if "data.pkl" in inner:
        return None
    if "MAR-INF/MANIFEST.json" in names:
        return "an exported model (.mar) already; serve it with `python -m server start`"
    held = next((name for name in names if not name.endswith("/")), "nothing")
    return f"a zip archive that holds {printable(held)} and not what torch.save writes; {_UNPACK}"


def kind_of_folder(path: Path) -> str:
    """What a folder is where a checkpoint is asked for, and what to do."""
    if (path / "lseg.json").is_file():
        return "the folder of an exported model already; serve it with `python -m server start`"
    files = [inner.name for inner in path.iterdir() if inner.suffix in (".ckpt", ".pt", ".pth", ".safetensors")]
    found = f" it holds {', '.join(map(printable, sorted(files)[:5]))}" if files else " it holds none by its suffix"
    return f"a folder; name the checkpoint in it:{found}"
