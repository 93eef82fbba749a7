"""An output: a folder with the results of one manifest, by one model and one choice of options.

batch.json                        manifest, model and options; results of any other are refused
masks/shard-000017.parquet        results (`results.py`)
status/shard-000017.parquet       what became of each image; written last, so a shard that has it is done
progress/shard-000017.json        when and where it was done, and how fast
attempts/shard-000017/            what ended the process over it (`attempts.py`)
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lseg_serve.batch.errors import BatchError
from lseg_serve.batch.manifest import shard_name, shard_of
from lseg_serve.batch.results import rows_of
from lseg_serve.batch.stores import Store

IDENTITY = "batch.json"
_SUFFIX = ".parquet"
_PARTS = ("manifest", "model", "options")


class Output:
    """One output. Several processes may work in it, each at shards of its own."""

    def __init__(self, url: str) -> None:
        """Nothing is written or looked for yet.

        Raises:
            BatchError: no package that is installed knows the kind of URL.
        """
        self.store = Store.at(url)

    def identity(self) -> dict[str, Any] | None:
        """What `claim` wrote; None where nothing was.

        Raises:
            BatchError: it is damaged.
            StoreError: the store does not answer, or refuses.
        """
        try:
            found = json.loads(self.store.read(IDENTITY))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise BatchError(f"{self.store.url}/{IDENTITY} is damaged ({error}); accepted: another output") from error
        return dict(found)

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Take the output for results of `identity`, an object with the parts manifest, model and options.

        Raises:
            BatchError: it has results of another one.
            StoreError: the store does not answer, or refuses.
        """
        wanted = json.loads(json.dumps(identity))
        found = self.identity()
        if found is None:
            self.store.write(IDENTITY, json.dumps(wanted, indent=1, ensure_ascii=False).encode())
            return
        for part in _PARTS:
            was, now = dict(found.get(part) or {}), wanted[part]
            for key in (*now, *(key for key in was if key not in now)):
                if was.get(key) != now.get(key) and key not in ("url", "name"):
                    raise BatchError(
                        f"{self.store.url} holds results of another {part}: {key} was {str(was.get(key))[:80]!r} and "
                        f"is {str(now.get(key))[:80]!r} now; accepted: the same as before, or another output"
                    )

    def done(self) -> set[int]:
        """The numbers of the shards that are done, by one look at a folder.

        Raises:
            StoreError: the store does not answer, or refuses.
        """
        names = (name for name in self.store.names("status") if name.endswith(_SUFFIX))
        return {shard_of(name.removesuffix(_SUFFIX)) for name in names}

    def is_done(self, shard: int) -> bool:
        """Whether a shard is done.

        Raises:
            StoreError: as `done`.
        """
        return self.store.exists(self.status(shard))

    @staticmethod
    def masks(shard: int) -> str:
        """The name of a shard's table of results."""
        return f"masks/{shard_name(shard)}{_SUFFIX}"

    @staticmethod
    def status(shard: int) -> str:
        """The name of a shard's table of statuses."""
        return f"status/{shard_name(shard)}{_SUFFIX}"

    @staticmethod
    def progress(shard: int) -> str:
        """The name of what is told of a shard's run."""
        return f"progress/{shard_name(shard)}.json"

    @contextlib.contextmanager
    def table(self, name: str) -> Iterator[pq.ParquetFile]:
        """A table, open for reading.

        Raises:
            FileNotFoundError: there is none.
            BatchError: it is damaged.
            StoreError: the store does not answer, or refuses.
        """
        with self.store.open(name) as file:
            try:
                table = pq.ParquetFile(file)
            except pa.ArrowInvalid as error:
                raise BatchError(
                    f"{self.store.url}/{name} is damaged ({error}); remove it, and its shard is made anew"
                ) from error
            with table:
                yield table

    def results(self, shard: int, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows that a shard has, of a run that failed for some images or ended before it had written statuses.

        With `columns`, no others are read.

        Raises:
            BatchError: the table is damaged.
            StoreError: the store does not answer, or refuses.
        """
        with contextlib.ExitStack() as stack:
            try:
                table = stack.enter_context(self.table(self.masks(shard)))
            except FileNotFoundError:
                return
            yield from rows_of(table, columns)
