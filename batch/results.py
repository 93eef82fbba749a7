"""The two tables of a shard: what was made of its images, and what became of each.

`masks/shard-000017.parquet` has a row for each image that was segmented, `status/shard-000017.parquet` one for every
image. Both are in the manifest's order and hold no times, so that a shard gives the same bytes wherever it is run.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lseg_serve.batch.listing import Entry
from lseg_serve.batch.stores import refusing

KEY = b"lseg-batch"
OK, FAILED = "ok", "failed"
_ROWS = 128  # of a row group: so many results are held at once

_BASE = [
    pa.field("index", pa.int32(), nullable=False),  # in the shard
    pa.field("key", pa.string(), nullable=False),
    ("size", pa.int64()),
    ("etag", pa.string()),
]
_SHAPE = [("width", pa.int32()), ("height", pa.int32())]
_OF_MASKS = [("shares", pa.list_(pa.float64())), ("scores", pa.list_(pa.float64()))]  # of each label
_RLE = pa.list_(pa.struct([("label", pa.int32()), ("counts", pa.string())]))
RESULT = {
    "png": pa.schema([*_BASE, *_SHAPE, *_OF_MASKS, ("mask", pa.binary())]),
    "rle": pa.schema([*_BASE, *_SHAPE, *_OF_MASKS, ("rle", _RLE)]),
    "embeddings": pa.schema([*_BASE, *_SHAPE, ("embeddings", pa.binary())]),
}
STATUS = pa.schema([*_BASE, ("status", pa.string()), ("type", pa.string()), ("message", pa.string())])


@dataclass(frozen=True)
class Outcome:
    """What became of one image."""

    index: int
    entry: Entry
    row: Mapping[str, Any] | None = None  # the columns of its result; None where it failed
    type: str | None = None  # of its error, as the endpoint names it
    message: str | None = None

    @property
    def status(self) -> str:
        """Whether there is a result."""
        return FAILED if self.row is None else OK

    @property
    def base(self) -> dict[str, Any]:
        """The columns of both tables."""
        return {"index": self.index, "key": self.entry.key, "size": self.entry.size, "etag": self.entry.etag}


@dataclass
class Writer:
    """Writes both tables, an image at a time."""

    masks: pq.ParquetWriter
    status: pq.ParquetWriter
    counts: Counter[str] = field(default_factory=Counter)  # of images by status, and of the failed by type
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _states: list[dict[str, Any]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Write the rows of an image; images come in the order of the shard."""
        self.counts[outcome.status] += 1
        state = {**outcome.base, "status": outcome.status, "type": outcome.type, "message": outcome.message}
        self._states.append(state)
        if outcome.row is None:
            self.counts[f"{FAILED}:{outcome.type}"] += 1
        else:
            self._rows.append({**outcome.base, **outcome.row})
        self._flush(_ROWS)

    def finish(self) -> None:
        """Write what is left, and the counts into the table of statuses."""
        self._flush(1)
        self.status.add_key_value_metadata({KEY: json.dumps(dict(sorted(self.counts.items()))).encode()})

    def _flush(self, least: int) -> None:
        for writer, rows in ((self.masks, self._rows), (self.status, self._states)):
            if len(rows) >= least:
                with refusing("results cannot be written"):
                    writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))
                rows.clear()


@contextlib.contextmanager
def writing(masks: Path, status: Path, kind: str, about: Mapping[str, Any]) -> Iterator[Writer]:
    """A writer of both tables to these paths; `about` goes into the metadata of the masks' table.

    Raises:
        StoreError: the disk is full, or refuses; so do the writer's functions.
    """
    schema = RESULT[kind].with_metadata({KEY: json.dumps(about, ensure_ascii=False, sort_keys=True).encode()})
    with (
        _open(masks, schema, _compression(kind)) as first,
        _open(status, STATUS, "snappy") as second,
    ):
        yield Writer(first, second)


@contextlib.contextmanager
def _open(path: Path, schema: pa.Schema, compression: str) -> Iterator[pq.ParquetWriter]:
    with refusing("results cannot be written"):
        writer = pq.ParquetWriter(path, schema, compression=compression)
    try:
        yield writer
    finally:
        with refusing("results cannot be written"):
            writer.close()


def rows_of(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a table of results, in order, some at a time, with these columns or all."""
    for batch in file.iter_batches(_ROWS, columns=columns):
        yield from batch.to_pylist()


def counts_of(file: pq.ParquetFile) -> Counter[str]:
    """The counts that `Writer.finish` wrote into a table of statuses."""
    return Counter(json.loads((file.metadata.metadata or {}).get(KEY, b"{}")))


def failed_by_type(counts: Counter[str]) -> dict[str, int]:
    """How many images failed by each type of error, of counts that `Writer` made."""
    return {key.partition(":")[2]: count for key, count in sorted(counts.items()) if ":" in key}


def _compression(kind: str) -> str:
    return "zstd" if kind == "rle" else "none"  # PNGs and packed embeddings do not shrink further
