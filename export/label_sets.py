"""Label sets that an export can carry: ADE20K's 150 classes in two spellings, or a file of one's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lseg_serve.export.errors import ExportError
from lseg_serve.labelsets import published_labels
from lseg_serve.segmenter import Config, InvalidLabelsError, checked_labels

_PACKAGED = ("ade20k", "ade20k-published")


@dataclass(frozen=True)
class LabelSet:
    """Labels in the order of their indices."""

    name: str
    labels: tuple[str, ...]


def load_label_set(name: str, config: Config) -> LabelSet:
    """The label set `ade20k` (clean names), `ade20k-published` (as lang-seg cuts them), or the one in the file `name`.

    A file holds one label a line, or a JSON list.

    Raises:
        ExportError: there is no such file, or what it holds cannot be labels.
    """
    if name in _PACKAGED:
        return LabelSet(name, published_labels(name))
    path = Path(name)
    try:
        text = path.read_text(encoding="utf-8")
        listed = json.loads(text) if text.lstrip().startswith("[") else text.split("\n")
        labels = [label for label in listed if not isinstance(label, str) or label.strip()]
        return LabelSet(path.stem, checked_labels(labels, config))
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"labels {name!r}: {error}; accepted: ade20k, ade20k-published or a file") from error
    except (json.JSONDecodeError, InvalidLabelsError) as error:
        raise ExportError(f"labels {name!r}: {error}") from error
