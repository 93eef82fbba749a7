"""The manifest: a Parquet file with a row for each image and a row group for each shard.

Columns: key (text), size (bytes), etag, width, height (pixels, where known), shard. A shard is read by its number
without the others, so that memory does not grow with the manifest. What the whole is about is in the file's metadata.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lseg_serve.batch.errors import BatchError
from lseg_serve.batch.listing import Entry
from lseg_serve.batch.stores import place_of

_KEY = b"lseg-batch"
_FORMAT = 1
_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        pa.field("shard", pa.int32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class About:
    """What a manifest is about."""

    source: str  # the URL that keys are below, or of the Parquet that images are in
    kind: str  # "files", or "rows" where images are in a Parquet
    images: int
    shards: int
    plan: str  # SHA-256 of all rows: two manifests with the same one ask for the same
    format: int = _FORMAT


def shard_name(shard: int) -> str:
    """The name of a shard, in all folders of an output."""
    return f"shard-{shard:06d}"


def shard_of(name: str) -> int:
    """The number of a shard, by the name that `shard_name` gives it."""
    return int(name.rpartition("-")[2])


def write_manifest(url: str, source: str, kind: str, shards: Iterable[list[Entry]]) -> About:
    """Write a manifest, each list of entries as one shard, and return what it is about.

    Raises:
        BatchError: there is no image.
        StoreError: it cannot be written.
    """
    folder, name = place_of(url)
    digest, images, number = hashlib.sha256(), 0, 0
    with folder.written(name) as aside, contextlib.closing(pq.ParquetWriter(aside, _SCHEMA)) as writer:
        for entries in shards:
            for one in entries:
                digest.update(repr((one.key, one.size, one.etag, number)).encode())
            columns: dict[str, list[Any]] = {
                field: [getattr(one, field) for one in entries] for field in ("key", "size", "etag", "width", "height")
            }
            table = pa.table({**columns, "shard": [number] * len(entries)}, schema=_SCHEMA)
            writer.write_table(table, row_group_size=len(entries))
            images, number = images + len(entries), number + 1
        if not images:
            raise BatchError(f"{source}: no image in it")
        about = About(source, kind, images, number, digest.hexdigest())
        writer.add_key_value_metadata({_KEY: json.dumps(asdict(about)).encode()})
    return about


class Manifest:
    """A manifest that was written, open for reading. Several threads may use one."""

    def __init__(self, url: str) -> None:
        """Open it.

        Raises:
            BatchError: there is none, or what is there is no manifest.
            StoreError: the store does not answer, or refuses.
        """
        folder, name = place_of(url)
        try:
            self._file = pq.ParquetFile(folder.open(name))
            self.about = About(**json.loads((self._file.metadata.metadata or {}).get(_KEY, b"{}")))
        except FileNotFoundError as error:
            raise BatchError(f"{url}: no such manifest; accepted: a file that `lseg batch plan` wrote") from error
        except (pa.ArrowInvalid, TypeError, ValueError) as error:
            raise BatchError(f"{url}: no manifest ({error}); accepted: a file that `lseg batch plan` wrote") from error
        if self.about.format != _FORMAT:
            raise BatchError(f"{url}: a manifest of format {self.about.format}; accepted: {_FORMAT}")
        self._lock = threading.Lock()

    def shard(self, number: int) -> list[Entry]:
        """The images of a shard.

        Raises:
            BatchError: there is no such shard.
        """
        if not 0 <= number < self.about.shards:
            raise BatchError(f"there is no shard {number}; accepted: 0 to {self.about.shards - 1}")
        with self._lock:
            table = self._file.read_row_group(number)
        columns = table.drop_columns("shard").to_pydict()
        return [Entry(*values) for values in zip(*columns.values(), strict=True)]

    def __iter__(self) -> Iterator[Entry]:
        for number in range(self.about.shards):
            yield from self.shard(number)
