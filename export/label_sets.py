"""The label set that an archive carries, for requests that name no labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lseg_serve.export.errors import ExportError
from lseg_serve.labelsets import NAMES, Label, LabelFileError, published_labels, read_labels, words_of
from lseg_serve.segmenter import Config, InvalidLabelsError, checked_labels


@dataclass(frozen=True)
class LabelSet:
    """Labels in the order of their indices."""

    name: str
    labels: tuple[Label, ...]

    @property
    def words(self) -> list[str]:
        """The words of all labels, one label's after the other."""
        return [word for label in self.labels for word in words_of(label)]


def load_label_set(name: str, config: Config) -> LabelSet:
    """A published set, by its name, or the labels in the file `name`, which must be such that a request could send.

    A published set is taken as it is: `ade20k-published` has "screen" twice, which no request may.

    Raises:
        ExportError: there is no such set or file, or what it holds cannot be labels.
    """
    if name in NAMES:
        return LabelSet(name, published_labels(name))
    try:
        return LabelSet(Path(name).stem, checked_labels(read_labels(name), config))
    except LabelFileError as error:
        raise ExportError(str(error)) from error
    except InvalidLabelsError as error:
        raise ExportError(f"labels {name!r}: {error}") from error
