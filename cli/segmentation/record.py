"""The record of an output folder: by which options it was made, which result belongs to which image, and what is done.

It is a file of JSON lines, `.lseg-segment.jsonl`. The first holds the options. A line with "output" gives an image its
place before anything is asked; one with "done" says that the result lies there, whole. A killed command may leave a
part of a line, which is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from filelock import FileLock, Timeout

from lseg_serve.cli.files import write_whole
from lseg_serve.cli.manners import CommandError, Status
from lseg_serve.cli.segmentation.inputs import Source

FILE = ".lseg-segment.jsonl"
_LOCK = ".lseg-segment.lock"


class Record:
    """The record of one folder, which no other command may use meanwhile."""

    def __init__(self, folder: Path, options: Mapping[str, Any], *, again: bool = False) -> None:
        """Open the record in `folder`, or start one; `again` forgets what is done, and by which options.

        Raises:
            CommandError: the folder has results of other options, or another command is at work in it.
            OSError: it cannot be written.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / _LOCK, blocking=False)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise CommandError(
                Status.REFUSED, f"another command is at work in {folder}; wait for it, or choose another --output"
            ) from error
        self._path = folder / FILE
        self._outputs: dict[str, str] = {}  # of each image, by its key
        self._done: dict[str, list[int]] = {}  # size in bytes and time of change in nanoseconds, by key
        found = self._read()
        if found is not None and self._done and not again:
            self._check(found, options)
        if not self._done or again:
            self._done = {}
            self._start(options)
        self._owner = {self._folded(output): key for key, output in self._outputs.items()}

    def close(self) -> None:
        """Let other commands use the folder."""
        self._lock.release()

    def is_result(self, path: Path) -> bool:
        """Whether a file in the folder is the result of another image."""
        path = path.absolute()
        return path.is_relative_to(self.folder.absolute()) and self._folded(path) in self._owner

    def place(self, sources: Iterable[Source], suffix: str) -> None:
        """Give each image a place of its own for a result that ends in `suffix`, the same as at the last run.

        Two images whose results would have one name get `name` and `name-2`. A file that is no result is not
        overwritten either.
        """
        lines = []
        for source in sources:
            output = self._outputs.get(source.key)
            if output is None or not output.endswith(suffix):
                output = self._free(source.place.with_suffix(suffix))
                self._outputs[source.key] = output
                self._owner[self._folded(output)] = source.key
                lines.append({"image": source.key, "output": output})
        self._write(lines)

    def output_of(self, source: Source) -> Path:
        """Where the result of an image lies, or will."""
        return self.folder / self._outputs[source.key]

    def is_done(self, source: Source) -> bool:
        """Whether the result of an image is there, and the image is as it was."""
        known = self._done.get(source.key)
        return known is not None and known == state_of(source) and self.output_of(source).is_file()

    def add(self, source: Source, state: list[int] | None) -> None:
        """Remember that the result of an image is in its place; `state` is the image's when it was read."""
        if state is not None:
            self._done[source.key] = state
            self._write([{"image": source.key, "done": state}])

    def _free(self, wanted: PurePath) -> str:
        number, name = 1, wanted
        while self._folded(name) in self._owner or (self.folder / name).exists():
            number += 1
            name = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        return str(name)

    def _folded(self, output: str | PurePath) -> str:
        """A name as file systems compare it that do not tell capitals apart."""
        return os.path.normpath(self.folder.absolute() / output).casefold()

    def _start(self, options: Mapping[str, Any]) -> None:
        lines = [{"options": dict(options)}, *({"image": k, "output": v} for k, v in self._outputs.items())]
        write_whole(self._path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if lines:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))

    def _read(self) -> dict[str, Any] | None:
        """The options in the record, if there is one; its other lines are taken in."""
        if not self._path.exists():
            return None
        text = self._path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(self._path, len(whole))
        try:
            first, *others = [json.loads(line) for line in whole.decode("utf-8").splitlines()]
            for line in others:
                if "output" in line:
                    self._outputs[line["image"]] = str(line["output"])
                else:
                    self._done[line["image"]] = [int(number) for number in line["done"]]
            return dict(first["options"])
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                Status.REFUSED, f"{self._path}: a line is damaged ({error}); remove the file to start over"
            ) from error

    def _check(self, found: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        different = [key for key in {**options, **found} if options.get(key) != found.get(key)]
        if different:
            key = different[0]
            raise CommandError(
                Status.REFUSED,
                f"{self.folder} holds results of other options: {key} was {str(found.get(key))[:80]!r} and is "
                f"{str(options.get(key))[:80]!r} now; accepted: the same options, another --output, or --again to "
                "make all of them anew",
            )


def state_of(source: Source) -> list[int] | None:
    """Size in bytes and time of change of an image; None for standard input, or where it is gone."""
    if source.path is None:
        return None
    try:
        status = source.path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
