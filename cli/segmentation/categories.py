"""The categories and image ids of a COCO file, which `lseg segment --categories` takes over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lseg_serve.cli.manners import CommandError, Status

_ACCEPTED = 'accepted: a COCO document, or a list such as [{"id": 1, "name": "sky"}]'


@dataclass(frozen=True)
class Categories:
    """What a COCO file says of ids."""

    path: Path
    entries: Sequence[Mapping[str, Any]]  # as they stand there
    image_ids: Mapping[str, int] = field(default_factory=dict)  # by file_name; empty where it lists no images

    @property
    def names(self) -> list[str]:
        """Of all categories, in their order."""
        return [str(entry["name"]) for entry in self.entries]

    def ids_of(self, labels: Sequence[str]) -> list[int]:
        """The id of each label.

        Raises:
            CommandError: a label is the name of no category.
        """
        id_of = {str(entry["name"]): int(entry["id"]) for entry in self.entries}
        missing = next((label for label in labels if label not in id_of), None)
        if missing is not None:
            shown = ", ".join([*self.names[:5], *["..."][: len(self.names) > 5]])
            raise CommandError(
                Status.REFUSED, f"the label {missing!r} is no category of {self.path}; accepted: {shown}"
            )
        return [id_of[label] for label in labels]


def read_categories(path: Path) -> Categories:
    """The categories of a COCO document, or of a list of them as panoptic tools have it.

    Raises:
        CommandError: the file cannot be read, or holds something else.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(Status.REFUSED, f"{path} cannot be read: {error}; {_ACCEPTED}") from error
    entries = document.get("categories") if isinstance(document, dict) else document
    images = document.get("images", []) if isinstance(document, dict) else []
    if not isinstance(entries, list) or not entries or not isinstance(images, list):
        raise CommandError(Status.REFUSED, f"{path} holds no categories; {_ACCEPTED}")
    for entry in entries:
        match entry:
            case {"id": int(number), "name": str(name)} if name and number >= 0 and not isinstance(number, bool):
                continue
        raise CommandError(Status.REFUSED, f"{path}: {json.dumps(entry)[:80]} is no category; {_ACCEPTED}")
    for key in ("id", "name"):
        _refuse_repeated(path, key, [entry[key] for entry in entries])
    ids = {str(one["file_name"]): int(one["id"]) for one in images if _is_image(one)}
    if len(ids) != len(images):
        raise CommandError(
            Status.REFUSED, f"{path}: an image has no id or no file_name, or two have one name; accepted: COCO's images"
        )
    return Categories(path, entries, ids)


def _refuse_repeated(path: Path, key: str, values: Sequence[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise CommandError(Status.REFUSED, f"{path}: two categories have the {key} {value!r}; accepted: one each")
        seen.add(value)


def _is_image(entry: object) -> bool:
    match entry:
        case {"id": int(number), "file_name": str()}:
            return not isinstance(number, bool)
    return False
