"""The sha256 of a file, remembered in a file beside it, in the form that `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lseg_serve.cli.files import write_whole
from lseg_serve.cli.manners import CommandError, Status, progress

_CHUNK = 8 << 20  # bytes
_LINE = re.compile(r"([0-9a-f]{64})  .+\n")


def sha256_of(path: Path) -> str:
    """The sha256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file, progress(path.stat().st_size, 0, "B", unit_scale=True, desc="sha256") as bar:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def memory_of(target: Path) -> Path:
    """The file that remembers the sha256 of `target`."""
    return target.with_name(f"{target.name}.sha256")


def check_remembered(target: Path, digest: str) -> bool:
    """Compare `digest` with what is remembered of `target`; False if nothing is.

    Raises:
        CommandError: they differ, or the file that remembers is damaged.
    """
    memory = memory_of(target)
    if not memory.exists():
        return False
    line = _LINE.fullmatch(memory.read_text(encoding="utf-8", errors="replace"))
    if line is None:
        raise CommandError(Status.REFUSED, f"{memory}: holds no sha256; remove it to accept {digest}")
    if line[1] != digest:
        raise CommandError(
            Status.REFUSED,
            f"{target}: its sha256 is {digest}, and {memory} remembers {line[1]}: it is another file than before. "
            f"Remove {memory} to accept it, or the file to fetch it again",
        )
    return True


def remember(target: Path, digest: str) -> None:
    """Write the sha256 beside `target`, whole or not at all."""
    write_whole(memory_of(target), f"{digest}  {target.name}\n".encode())
