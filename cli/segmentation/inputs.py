"""The images that a command line names: files, folders, patterns, and standard input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from lseg_serve.cli.manners import CommandError, Status

STDIN = "-"
# By which a folder's images are known. A file that is named itself is sent whatever its name.
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".hif", ".tif", ".tiff", ".dng",
    ".bmp", ".dib", ".gif", ".ico", ".cur", ".pnm", ".pbm", ".pgm", ".ppm", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c",
    ".jxl", ".psd", ".psb", ".tga", ".icb", ".vda", ".vst",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One image."""

    path: Path | None  # None: standard input
    place: PurePath  # of its result, relative to the output folder, still with the image's own suffix

    @property
    def key(self) -> str:
        """What it is known by: its absolute path, or "-"."""
        return STDIN if self.path is None else str(self.path.absolute())

    @property
    def shown(self) -> str:
        """Its name for people and in the data, as it was given."""
        return STDIN if self.path is None else str(self.path)


def find_sources(names: Sequence[str], output: Path | None) -> list[Source]:
    """The images that `names` stand for, each once, in their order; those of a folder sorted by name.

    What lies in the folder `output`, inside a folder that is named, is left out: results are no input.

    Raises:
        CommandError: nothing has this name, or a folder has no image in it.
    """
    found: dict[str, Source] = {}
    for name in names:
        for source in _expanded(name, output):
            found.setdefault(source.key, source)
    return list(found.values())


def _expanded(name: str, output: Path | None) -> Iterator[Source]:
    if name == STDIN:
        yield Source(None, PurePath("stdin"))
        return
    path = Path(name)
    if path.is_dir():
        yield from _in_folder(path, output)
    elif path.exists():
        yield Source(path, PurePath(path.name))
    else:
        matches = _matching(name) if any(sign in name for sign in "*?[") else []
        if not matches:
            raise CommandError(
                Status.REFUSED, f"{name}: no such file; accepted: files, folders, patterns such as 'photos/*.jpg', or -"
            )
        for match in matches:
            yield from _expanded(str(match), output)


def _matching(pattern: str) -> list[Path]:
    """What a pattern stands for that the shell has left as it is; `**` stands for any folders."""
    path = PurePath(pattern)
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _in_folder(folder: Path, output: Path | None) -> Iterator[Source]:
    own = None if output is None or output.absolute() == folder.absolute() else output.absolute()
    images = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not (own is not None and path.absolute().is_relative_to(own))
        and path.is_file()
    ]
    if not images:
        raise CommandError(Status.REFUSED, f"{folder}: no image in it; their names end in one of {' '.join(SUFFIXES)}")
    for path in images:
        yield Source(path, PurePath(path.relative_to(folder)))
