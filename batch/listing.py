"""The images of a folder or of a place in an object store, one after the other, sorted within each folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from lseg_serve.batch.stores import Store


@dataclass(frozen=True)
class Entry:
    """One image of a manifest."""

    key: str  # its place below the source, or a URL of its own
    size: int | None = None  # bytes
    etag: str | None = None  # what changes with its content: the store's own, or the time of the last change
    width: int | None = None  # pixels, where known
    height: int | None = None


def images_of(store: Store, suffixes: Collection[str], skipped: Callable[[str], None]) -> Iterator[Entry]:
    """Every file below `store` whose name ends in one of `suffixes`, whatever its capitals.

    What begins with a dot is left out, and folders that are links are not followed. One folder at a time is held in
    memory. `skipped` gets each name that is no valid UTF-8, which a manifest cannot hold.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    yield from _below(store, store.root, tuple(suffixes), skipped)


def _below(store: Store, folder: str, suffixes: tuple[str, ...], skipped: Callable[[str], None]) -> Iterator[Entry]:
    for found in store.entries(folder):
        path = str(found["name"]).rstrip("/")
        name = path.rsplit("/", 1)[-1]
        if name.startswith(".") or path == folder:
            continue
        if found["type"] == "directory":
            if not found.get("islink"):
                yield from _below(store, path, suffixes, skipped)
        elif name.lower().endswith(suffixes):
            key = path[len(store.root) + 1 :]
            if _is_utf8(key):
                yield Entry(key, found.get("size"), _etag(found))
            else:
                skipped(ascii(key))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _etag(found: dict[str, Any]) -> str | None:
    for name in ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime"):
        if found.get(name) is not None:
            return str(found[name]).strip('"')
    return None
