"""Where the images of a manifest are: planning what to do with them, and reading one of them by its key."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection

from lseg_serve.batch.errors import BatchError
from lseg_serve.batch.grouping import in_shards
from lseg_serve.batch.listing import images_of
from lseg_serve.batch.manifest import About, write_manifest
from lseg_serve.batch.stores import Store, attempted, place_of
from lseg_serve.batch.tables import ImageTable

MOST_IN_A_SHARD = 100_000


def plan(source: str, manifest: str, images: int, suffixes: Collection[str], skipped: Callable[[str], None]) -> About:
    """Write the manifest of a folder, an object store's place, or a Parquet of images; `images` go into a shard.

    The same source gives the same manifest, byte by byte.

    Raises:
        BatchError: there is no image, or the source cannot be understood.
        StoreError: a store does not answer, or refuses.
    """
    if not 1 <= images <= MOST_IN_A_SHARD:
        raise BatchError(f"a shard of {images} images is not accepted; accepted: 1 to {MOST_IN_A_SHARD}")
    if source.endswith(".parquet"):
        table = ImageTable(source)
        place = Store.at(source).url if table.kind == "rows" else table.folder
        return write_manifest(manifest, place, table.kind, in_shards(table.entries(), images))
    store = Store.at(source)
    return write_manifest(manifest, store.url, "files", in_shards(images_of(store, suffixes, skipped), images))


def reader(about: About) -> Callable[[str], bytes]:
    """What gives the bytes of an image by its key. Several threads may call it.

    It raises FileNotFoundError where an image is gone, and StoreError where the store does not answer or refuses.

    Raises:
        BatchError: the source is of an unknown kind, or gone.
    """
    if about.kind == "rows":
        return ImageTable(about.source).read
    if about.kind != "files":
        raise BatchError(f"a manifest of the kind {about.kind!r}; accepted: files, rows")
    store = Store.at(about.source)
    return functools.partial(_read, store)


def _read(store: Store, key: str) -> bytes:
    if "://" not in key:
        return store.read(key)
    folder, name = place_of(key)
    return bytes(attempted(lambda: folder.fs.cat_file(folder.path(name)), f"{key} cannot be read"))
