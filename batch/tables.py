"""A Parquet of images as a source: their bytes in a column, as data sets have them, or their places.

A column `image` holds files as bytes, alone or in the field `bytes` of a struct. A column `key`, `path`, `url` or
`file_name` holds places: URLs, or names below the folder of the Parquet. `width`, `height`, `size` and `etag` are taken
over where they are there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lseg_serve.batch.errors import BatchError
from lseg_serve.batch.listing import Entry
from lseg_serve.batch.stores import place_of

_BYTES = "image"
_PLACES = ("key", "path", "url", "file_name")
_FACTS = ("size", "etag", "width", "height")
_ROWS = 4096


class ImageTable:
    """A Parquet with a row for each image. Several threads may use one."""

    def __init__(self, url: str) -> None:
        """Open it.

        Raises:
            BatchError: there is none, or it has no column of images.
            StoreError: the store does not answer, or refuses.
        """
        folder, name = place_of(url)
        try:
            self._file = pq.ParquetFile(folder.open(name))
        except FileNotFoundError as error:
            raise BatchError(f"{url}: no such file") from error
        except pa.ArrowInvalid as error:
            raise BatchError(f"{url}: no Parquet file ({error})") from error
        self.url = url
        self.folder = folder.url
        schema = self._file.schema_arrow
        self._column = self._column_of_bytes(schema)
        self._place = next((one for one in _PLACES if one in schema.names), None)
        if self._column is None and self._place is None:
            raise BatchError(
                f"{url}: its columns are {', '.join(schema.names)}; accepted: image, with the bytes of files, or "
                f"one with their places, named {', '.join(_PLACES)}"
            )
        groups = [self._file.metadata.row_group(one).num_rows for one in range(self._file.num_row_groups)]
        self._starts = np.cumsum([0, *groups])
        self._lock = threading.Lock()
        self._held: tuple[int, Any] | None = None  # the row group that was read last

    @property
    def kind(self) -> str:
        """What `About.kind` says of it: "rows" where it holds the images themselves, "files" where their places."""
        return "files" if self._column is None else "rows"

    def entries(self) -> Iterator[Entry]:
        """An entry for each row; the key of one that holds its image is the row's number.

        Raises:
            BatchError: a place is missing.
        """
        columns = [name for name in _FACTS if name in self._file.schema_arrow.names]
        places = [] if self._column is not None else [str(self._place)]
        number = 0
        read = [*places, *columns] or [str(self._column)]
        for batch in self._file.iter_batches(_ROWS, columns=read):
            facts = {name: batch.column(name).to_pylist() for name in (*places, *columns)}
            for row in range(batch.num_rows):
                key = str(number) if not places else facts[places[0]][row]
                if not key:
                    raise BatchError(f"{self.url}: row {number} has no {places[0]}")
                yield Entry(str(key), **{name: facts[name][row] for name in columns})
                number += 1

    def read(self, key: str) -> bytes:
        """The bytes of the image in the row `key`.

        Raises:
            FileNotFoundError: there is no such row, or it is empty.
        """
        row = int(key)
        with self._lock:
            group = int(np.searchsorted(self._starts, row, side="right")) - 1
            if not 0 <= group < self._file.num_row_groups:
                raise FileNotFoundError(f"there is no row {row}")
            if self._held is None or self._held[0] != group:
                column = self._file.read_row_group(group, columns=[str(self._column)]).column(0)
                self._held = (group, column)
            value = self._held[1][row - int(self._starts[group])]
        content = value.as_py()
        if isinstance(content, dict):
            content = content["bytes"]
        if content is None:
            raise FileNotFoundError(f"row {row} is empty")
        return bytes(content)

    @staticmethod
    def _column_of_bytes(schema: pa.Schema) -> str | None:
        """The column, or the field of one, that holds bytes."""
        if _BYTES not in schema.names:
            return None
        kind = schema.field(_BYTES).type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return _BYTES
        if pa.types.is_struct(kind) and any(field.name == "bytes" for field in kind):
            return f"{_BYTES}.bytes"
        return None
