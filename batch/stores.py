"""A folder of this machine or a place in an object store, by its URL: reading, and writing that is whole or not at all.

fsspec knows the stores: `s3://` needs s3fs, `gs://` gcsfs, and so on. Credentials come from where these look for them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lseg_serve.batch.errors import BatchError, StoreError

_Result = TypeVar("_Result")
# Seconds to wait before each further try of what a store may do at the next one.
_WAITS = (0.5, 1.0, 2.0, 4.0)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True)
class Store:
    """A folder, here or in an object store."""

    fs: Any
    root: str  # as `fs` writes it, without a slash at its end
    url: str  # the same for people and other machines

    @classmethod
    def at(cls, url: str) -> Store:
        """The store of a URL or of a path of this machine. It need not exist.

        Raises:
            BatchError: no package that is installed knows the kind of URL.
        """
        try:
            fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise BatchError(
                f"{url!r}: {error}; accepted: a path, or a URL that fsspec knows, such as s3://"
            ) from error
        root = root.rstrip("/") or root
        return cls(fs, root, root if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(root))

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine, or one mounted there."""
        return isinstance(self.fs, LocalFileSystem)

    def path(self, name: str) -> str:
        """The place of `name`, as `fs` writes it."""
        return f"{self.root}/{name}"

    def entries(self, path: str) -> list[dict[str, Any]]:
        """What fsspec tells of each entry of the folder `path`, sorted by name; none where there is no such folder.

        Raises:
            StoreError: the store does not answer, or refuses.
        """

        def listed() -> list[dict[str, Any]]:
            try:
                return cast(list[dict[str, Any]], self.fs.ls(path, detail=True))
            except _GONE:
                return []

        return sorted(attempted(listed, f"{path} cannot be listed"), key=lambda entry: str(entry["name"]))

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, sorted, without those that are being written.

        Raises:
            StoreError: as `entries`.
        """
        names = [
            str(one["name"]).rsplit("/", 1)[-1] for one in self.entries(self.path(folder)) if one["type"] == "file"
        ]
        return [name for name in names if not name.startswith(".")]

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name.

        Raises:
            StoreError: as `entries`.
        """
        return bool(attempted(lambda: self.fs.exists(self.path(name)), f"{self.url}/{name} cannot be looked for"))

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: there is none.
            StoreError: the store does not answer, or refuses.
        """
        return bytes(attempted(lambda: self.fs.cat_file(self.path(name)), f"{self.url}/{name} cannot be read"))

    def open(self, name: str) -> BinaryIO:
        """A file for reading, of which parts may be sought.

        Raises:
            FileNotFoundError: there is none.
            StoreError: as `read`.
        """
        what = f"{self.url}/{name} cannot be read"
        return cast(BinaryIO, attempted(lambda: self.fs.open(self.path(name), "rb", cache_type="readahead"), what))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole.

        Raises:
            StoreError: the disk is full, or the store does not answer or refuses.
        """
        with self.written(name) as aside, refusing(f"{self.url}/{name} cannot be written"):
            aside.write_bytes(content)

    @contextlib.contextmanager
    def written(self, name: str) -> Iterator[Path]:
        """A path of this machine to write the file `name` to. It gets its place, at once, when the block ends well.

        Raises:
            StoreError: as `write`.
        """
        what = f"{self.url}/{name} cannot be written"
        if not self.is_local:
            with tempfile.TemporaryDirectory(prefix="lseg-batch-") as folder:
                aside = Path(folder) / "file"
                yield aside
                attempted(lambda: self.fs.put_file(str(aside), self.path(name)), what)
            return
        place = Path(self.path(name))
        with refusing(what):
            place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            yield aside
            with refusing(what):
                with aside.open("rb") as file:
                    os.fsync(file.fileno())
                aside.replace(place)
        finally:
            aside.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            StoreError: the store does not answer, or refuses.
        """
        with contextlib.suppress(FileNotFoundError):
            attempted(lambda: self.fs.rm_file(self.path(name)), f"{self.url}/{name} cannot be removed")

    def prune(self, folder: str) -> None:
        """Remove an empty folder of this machine; a store has none."""
        if self.is_local:
            with contextlib.suppress(OSError):  # another process has put something there
                Path(self.path(folder)).rmdir()

    def sweep(self, name: str) -> None:
        """Remove what killed processes left of the file `name`; a store keeps nothing of what did not become whole."""
        if self.is_local:
            place = Path(self.path(name))
            for left in place.parent.glob(f".{place.name}.*.part"):
                left.unlink(missing_ok=True)


def place_of(url: str) -> tuple[Store, str]:
    """The folder and the name of a file, by its URL or path.

    Raises:
        BatchError: as `Store.at`.
    """
    whole = Store.at(url)
    folder, _, name = whole.root.rpartition("/")
    return Store(whole.fs, folder, whole.url[: -len(name) - 1]), name


def attempted(action: Callable[[], _Result], what: str) -> _Result:
    """What `action` returns, tried again after some seconds while a store does not answer.

    Raises:
        FileNotFoundError: what it asks for is not there.
        StoreError: it still fails, or another try would not help: access denied, a full disk.
    """
    for wait in (*_WAITS, None):
        try:
            return action()
        except _GONE:
            raise
        except Exception as error:  # each store has errors of its own
            if wait is None or _is_final(error):
                raise StoreError(_words(error, what), is_full=_is_full(error)) from error
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn errors of the disk into `StoreError`, in clear words.

    Raises:
        StoreError: the block failed.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(_words(error, what), is_full=_is_full(error)) from error


def _is_final(error: Exception) -> bool:
    refused = isinstance(error, PermissionError) or "Credentials" in type(error).__name__
    return refused or (isinstance(error, OSError) and error.errno in (*_FULL, errno.EROFS, errno.EACCES))


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL


def _words(error: Exception, what: str) -> str:
    text = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
    if _is_full(error):
        return f"{what}: no space is left ({text}); make room, and the same command goes on from here"
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return f"{what}: access is denied ({text}); renew the credentials, and the same command goes on from here"
    return f"{what}: {text}; the same command goes on from here"
