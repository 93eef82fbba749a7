"""The journal of an evaluation: one line for each image, so that a stopped run resumes with the same figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lseg_serve.evaluation.errors import EvaluationError
from lseg_serve.evaluation.metrics import Counts

FILE = "results.jsonl"


@dataclass(frozen=True)
class Record:
    """One image: its confusion matrix as [true label, label found, pixels] and its latency, or what went wrong."""

    name: str
    milliseconds: float | None = None
    cells: tuple[tuple[int, int, int], ...] = ()
    error: str | None = None
    status: int | None = None  # HTTP status of a request that failed


def cells_of(confusion: Counts) -> tuple[tuple[int, int, int], ...]:
    """The cells of a confusion matrix that are not 0."""
    rows, columns = np.nonzero(confusion)
    return tuple(zip(rows.tolist(), columns.tolist(), confusion[rows, columns].tolist(), strict=True))


def add_cells(confusion: Counts, record: Record) -> None:
    """Add a record's cells to a confusion matrix."""
    for row, column, pixels in record.cells:
        confusion[row, column] += pixels


class Journal:
    """The file of records. After a restart, only images that failed are tried again."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Open the journal in `folder`, or start one.

        Raises:
            EvaluationError: the folder holds the results of an evaluation with other settings.
        """
        self._path = folder / FILE
        self.records: dict[str, Record] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            self._read(settings)
        if not self._path.exists() or self._path.stat().st_size == 0:
            self._write(dict(settings))

    def add(self, record: Record) -> None:
        """Keep a record, on disk before anything else happens."""
        self.records[record.name] = record
        self._write(asdict(record))

    def done(self, name: str) -> bool:
        """Whether this image was measured."""
        return name in self.records and self.records[name].error is None

    def _write(self, document: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document, ensure_ascii=False) + "\n")

    def _read(self, settings: Mapping[str, Any]) -> None:
        text = self._path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):  # a killed evaluation may have left a part of a line
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        lines = whole.decode("utf-8").splitlines()
        try:
            documents = [json.loads(line) for line in lines]
            if documents:
                self._check(documents[0], settings)
            for document in documents[1:]:
                cells = tuple((row, column, pixels) for row, column, pixels in document.pop("cells"))
                self.records[document["name"]] = Record(cells=cells, **document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(f"{self._path}: line is damaged ({error}); remove the file to start over") from error

    def _check(self, found: dict[str, Any], settings: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(dict(settings)))
        different = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
        if different:
            key = different[0]
            raise EvaluationError(
                f"{self._path}: holds results of another evaluation: {key} is {str(found.get(key))[:80]!r} there and "
                f"{str(wanted.get(key))[:80]!r} now; choose another --output, or remove that folder"
            )
