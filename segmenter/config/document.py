"""The text of a YAML file as keys and values. A file of any content is read, or refused, in a moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lseg_serve.segmenter.errors import ConfigError

_MOST_BYTES = 100_000
_DEEPEST = 20  # collections inside each other; the reader calls itself for each
_MOST_ALIASES = 10  # each can double what the file says


def read_document(path: Path) -> Mapping[str, Any]:
    """The keys and values of a YAML file; none for an empty one.

    Raises:
        ConfigError: the file cannot be read, is no YAML or no mapping, or is larger or deeper than a configuration is.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        _check_size(content)
        document = yaml.safe_load(content.decode("utf-8"))
    except Exception as error:  # not YAMLError alone: Python's own, of numbers and dates, come through
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(document or {}, Mapping):
        raise ConfigError(f"{path}: holds {type(document).__name__}; accepted: keys and values")
    return document or {}


def _check_size(content: bytes) -> None:
    """Refuse what would take the reader long; the events are read one by one, and no value is made.

    Raises:
        ValueError: too many bytes, collections inside each other, or aliases.
    """
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it is too large; accepted: up to {_MOST_BYTES} bytes")
    depth = aliases = 0
    for event in yaml.parse(content.decode("utf-8")):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > _DEEPEST:
            raise ValueError(f"it is too deep; accepted: up to {_DEEPEST} collections in each other")
        if aliases > _MOST_ALIASES:
            raise ValueError(f"it has too many aliases; accepted: up to {_MOST_ALIASES}")
