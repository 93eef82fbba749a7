"""A folder of files -> an archive that TorchServe loads, the same bytes for the same files.

torch-model-archiver cannot write these: its archives carry the time of day, its staging folder is a fixed name under
/tmp that it empties first, it copies the weights once more, and it loses the folder of a package (`--extra-files`
flattens). Its manifest is used; the container is the standard library's.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Literal, NoReturn

from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

ArchiveFormat = Literal["default", "no-archive", "tgz"]
SUFFIXES: dict[ArchiveFormat, str] = {"default": ".mar", "no-archive": "", "tgz": ".tar.gz"}

_CHUNK = 8 << 20


def pack(folder: Path, target: Path, name: str, archive_format: ArchiveFormat) -> None:
    """Write the files of `folder` to `target`: a .mar, a .tar.gz with everything under `name`, or a folder.

    A .mar is a zip. Its entries are stored, not compressed: weights do not compress, and deflating them costs half a
    minute a gigabyte here and again at every start.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if archive_format == "no-archive":
        shutil.move(folder, target)
        return
    size = sum(path.stat().st_size for path in files)
    with tqdm(total=size, desc="packing", unit="B", unit_scale=True, leave=False, disable=None) as progress:
        write = _write_mar if archive_format == "default" else _write_tgz
        write(folder, files, target, name, progress)


def _write_mar(folder: Path, files: list[Path], target: Path, name: str, progress: tqdm[NoReturn]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())  # dated 1980, like every entry
            entry.external_attr = 0o644 << 16
            entry.file_size = path.stat().st_size
            with path.open("rb") as file, archive.open(entry, "w") as out:
                shutil.copyfileobj(CallbackIOWrapper(progress.update, file), out, _CHUNK)


def _write_tgz(folder: Path, files: list[Path], target: Path, name: str, progress: tqdm[NoReturn]) -> None:
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for path in files:
            entry = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
            entry.size = path.stat().st_size
            entry.mode = 0o644
            with path.open("rb") as file:
                archive.addfile(entry, CallbackIOWrapper(progress.update, file))
