"""Whether a file can be an archive. Asked before TorchServe is, which starts without a model that it cannot read."""

from __future__ import annotations

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
        ServerError: there is no such file, or it is damaged or no archive.
    """
    if "://" in name or not store.is_dir():  # TorchServe names a missing store itself
        return
    path = store / name
    if not path.exists():
        present = ", ".join(sorted(one.name for one in store.iterdir() if not one.name.startswith("."))[:10])
        raise ServerError(f"there is no {name} in the model store {store}; it has: {present or 'nothing'}")
    try:
        if path.is_dir():
            found = (path / _MANIFEST).is_file()
        elif path.name.endswith(".tar.gz"):
            with tarfile.open(path, "r:gz") as packed:
                found = any(entry.name.removeprefix("./").endswith(_MANIFEST) for entry in packed)
        else:
            with zipfile.ZipFile(path) as archive:
                found = _MANIFEST in archive.namelist()
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    if not found:
        raise ServerError(f"{path} is no archive of a model: it has no {_MANIFEST}; {_EXPORT}")


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


def _damaged(path: Path, error: Exception) -> ServerError:
    return ServerError(f"{path} is damaged, or no archive of a model ({error}); {_EXPORT}")
