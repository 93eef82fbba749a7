"""An output as a whole: how far it is, one table of what became of all images, and what is to be tried again."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from lseg_serve.batch.attempts import Attempt
from lseg_serve.batch.errors import BatchError
from lseg_serve.batch.manifest import shard_name, shard_of
from lseg_serve.batch.output import Output
from lseg_serve.batch.results import FAILED, OK, STATUS, counts_of, failed_by_type
from lseg_serve.batch.stores import refusing

_READERS = 16  # small files of a store that are read at once
_RECENT = 900.0  # seconds: the rate is that of the shards that ended within them
_Result = TypeVar("_Result")
MERGED = "status.parquet"


@dataclass(frozen=True)
class State:
    """How far an output is."""

    shards: int
    shards_done: int
    images: int
    ok: int
    failed: dict[str, int]  # by type of error
    killed: dict[str, int]  # shards that are not done, by the processes that were killed over them
    rate: float | None  # images per second of all workers together, lately
    seconds_left: float | None  # at that rate

    @property
    def is_complete(self) -> bool:
        """Whether every shard is done."""
        return self.shards_done == self.shards


def state_of(output: Output, now: Callable[[], float] = time.time) -> State:
    """How far `output` is, by the small files of its shards.

    Raises:
        BatchError: it is none.
        StoreError: the store does not answer, or refuses.
    """
    about = _identity(output)["manifest"]
    done = sorted(output.done())
    counts: Counter[str] = Counter()
    for _, one in _counted(output, done):
        counts += one
    rate = _rate([one for one in _each(lambda shard: _told(output, shard), done) if one], now())
    left = about["images"] - counts[OK] - counts[FAILED]
    return State(
        about["shards"],
        len(done),
        about["images"],
        counts[OK],
        failed_by_type(counts),
        {shard_name(shard): count for shard, count in _deaths(output, set(done)).items()},
        rate,
        left / rate if rate and left else None,
    )


def merge(output: Output) -> tuple[str, int]:
    """Write one table of what became of all images, in the manifest's order: its name in the output, and its rows.

    A shard at a time is held in memory.

    Raises:
        BatchError: there is nothing to merge, or shards are missing.
        StoreError: the store does not answer or refuses, or the disk is full.
    """
    about, done = _identity(output)["manifest"], output.done()
    missing = [shard for shard in range(about["shards"]) if shard not in done]
    if missing:
        raise BatchError(
            f"{len(missing)} of {about['shards']} shards are not done, the first is {missing[0]}; accepted: an output "
            "whose shards are all done, by `lseg batch run`"
        )
    rows = 0
    schema = STATUS.insert(0, pa.field("shard", pa.int32(), nullable=False))
    with (
        output.store.written(MERGED) as aside,
        refusing(f"{MERGED} cannot be written"),
        contextlib.closing(pq.ParquetWriter(aside, schema)) as writer,
    ):
        for shard in range(about["shards"]):
            with output.table(output.status(shard)) as file:
                table = file.read()
            column = pa.array([shard] * table.num_rows, pa.int32())
            writer.write_table(table.add_column(0, schema.field(0), column).cast(schema))
            rows += table.num_rows
    return MERGED, rows


def retry(output: Output, kinds: Iterable[str] = ()) -> list[int]:
    """Let failed images be tried again, those of `kinds` of errors or all; return the shards that are not done by that.

    What was segmented stays, and is taken over by the next run.

    Raises:
        BatchError: it is no output.
        StoreError: the store does not answer, or refuses.
    """
    _identity(output)
    chosen, again = set(kinds), []
    done = sorted(output.done())
    for shard, counts in _counted(output, done):
        failed = set(failed_by_type(counts))
        if failed & chosen if chosen else failed:
            output.store.remove(output.status(shard))
            again.append(shard)
    for shard in _deaths(output, set(done)):
        Attempt(output.store, shard).forget()
        again.append(shard)
    return sorted(again)


def failures(output: Output) -> Iterator[dict[str, Any]]:
    """The rows of the images that failed, in the manifest's order, of the shards that are done.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    for shard, counts in _counted(output, sorted(output.done())):
        if counts[FAILED]:
            with output.table(output.status(shard)) as file:
                yield from ({"shard": shard, **row} for row in file.read().to_pylist() if row["status"] == FAILED)


def _identity(output: Output) -> dict[str, Any]:
    found = output.identity()
    if found is None:
        raise BatchError(f"{output.store.url}: no output; accepted: a folder that `lseg batch run` writes to")
    return found


def _each(act: Callable[[int], _Result], shards: Iterable[int]) -> Iterator[_Result]:
    with ThreadPoolExecutor(_READERS) as pool:
        yield from pool.map(act, shards)


def _counted(output: Output, shards: Iterable[int]) -> Iterator[tuple[int, Counter[str]]]:
    """Each of these shards, which are done, with its counts."""

    def counts(shard: int) -> tuple[int, Counter[str]]:
        with output.table(output.status(shard)) as file:
            return shard, counts_of(file)

    return _each(counts, shards)


def _told(output: Output, shard: int) -> dict[str, Any] | None:
    try:
        return dict(json.loads(output.store.read(output.progress(shard))))
    except (FileNotFoundError, ValueError):  # a process that ended before it could tell
        return None


def _rate(told: list[dict[str, Any]], now: float) -> float | None:
    """Images per second over the last minutes of work: from the first begin to the last end of recent shards."""
    last = max((one["ended"] for one in told), default=now)
    recent = [one for one in told if one["ended"] > last - _RECENT]
    if not recent:
        return None
    seconds = last - min(one["ended"] - one["seconds"] for one in recent)
    computed = sum(one["computed"] for one in recent)
    return float(computed / seconds) if seconds > 0 and computed else None


def _deaths(output: Output, done: set[int]) -> dict[int, int]:
    """How many tries of each shard that is not done are begun or were killed."""
    found = {}
    for entry in output.store.entries(output.store.path("attempts")):
        name = Path(str(entry["name"]).rstrip("/")).name
        if entry["type"] == "directory" and name.startswith("shard-") and (shard := shard_of(name)) not in done:
            count = len(output.store.names(f"attempts/{name}"))
            if count:
                found[shard] = count
    return found
