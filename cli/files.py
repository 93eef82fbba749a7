"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def write_whole(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file, or the pieces of a large one, beside its place; it gets its name only when all of it is on disk.

    Raises:
        OSError: it cannot be written.
    """
    aside = part_of(path)
    with aside.open("wb") as file:
        file.writelines([content] if isinstance(content, bytes) else content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def part_of(path: Path) -> Path:
    """The name of a file while it is written."""
    return path.with_name(f".{path.name}.part")
