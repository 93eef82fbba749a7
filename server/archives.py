"""Whether a file can be an archive. Asked before TorchServe is, which starts without a model that it cannot read."""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from pathlib import Path

from lseg_serve.server.errors import ServerError

_MANIFEST = "MAR-INF/MANIFEST.json"
_EXPORT = "`python -m export` writes one that is whole"
_UNREADABLE = (OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError, zlib.error)


def check_archive(store: Path, name: str) -> None:
    """Refuse what is no archive: a look at its table of contents, which takes milliseconds for a .mar.

    Args:
        store: the model store.
        name: the archive's name in it, or an absolute path. A URL is left to TorchServe.

    Raises:
        ServerError: there is no such file, or it cannot be read, or it is damaged or no archive.
    """
    if "://" in name or not store.is_dir():  # TorchServe names a missing store itself
        return
    path = store / name
    try:
        if not path.exists():
            present = ", ".join(sorted(one.name for one in store.iterdir() if not one.name.startswith("."))[:10])
            raise ServerError(f"there is no {name} in the model store {store}; it has: {present or 'nothing'}")
        found = _has_manifest(path)
    except PermissionError as error:
        raise _closed(path) from error
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    if not found:
        raise ServerError(f"{path} is no archive of a model: it has no {_MANIFEST}; {_EXPORT}")


def unpacked_bytes(store: Path, name: str) -> int:
    """What the archive takes on the disk once TorchServe has unpacked it; it links a folder, and that takes nothing.

    Of a .tar.gz it is the size of the file, which is less, because the true one would take reading all of it.
    """
    path = store / name
    if "://" in name or not path.is_file():
        return 0
    if path.name.endswith(".tar.gz"):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def fault_of(store: Path, name: str) -> str | None:
    """What is damaged inside an archive, by reading all of it; None if nothing is, or it is not a .mar."""
    path = store / name
    if not path.is_file() or path.name.endswith(".tar.gz"):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except _UNREADABLE as error:
        return str(_damaged(path, error))
    return f"{path} is damaged: the checksum of {bad} in it is wrong; {_EXPORT}" if bad else None


def _has_manifest(path: Path) -> bool:
    if path.is_dir():
        return (path / _MANIFEST).is_file()
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path, "r:gz") as packed:
            return any(entry.name.removeprefix("./").endswith(_MANIFEST) for entry in packed)
    with zipfile.ZipFile(path) as archive:
        return _MANIFEST in archive.namelist()


def _closed(path: Path) -> ServerError:
    # A container's user is seldom the one who made the archive. Windows has no numbers of users.
    user = f" ({os.getuid()})" if hasattr(os, "getuid") else ""
    return ServerError(f"{path} cannot be read by this user{user}; open the file and its folder to that user")


def _damaged(path: Path, error: Exception) -> ServerError:
    return ServerError(f"{path} is damaged, or no archive of a model ({error}); {_EXPORT}")
