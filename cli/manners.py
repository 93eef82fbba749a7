"""What every subcommand does alike: streams, exit statuses, errors, progress.

Data go to standard output, everything else to standard error. A progress bar is drawn on a terminal alone. With
`--json`, data are JSON, one document a line, and an error is one line of JSON on standard error. Only the word "error"
is ever coloured, and only on a terminal, unless NO_COLOR is set.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from enum import IntEnum
from types import FrameType
from typing import Any, TextIO

from tqdm import tqdm


class Status(IntEnum):
    """The exit statuses of all subcommands."""

    OK = 0
    FAULT = 1  # anything that no other status names
    USAGE = 2  # the command line cannot be understood; argparse has this number
    REFUSED = 3  # what was given cannot be used: a file, a label, a configuration
    UNREACHABLE = 4  # nothing answers, or not in time
    PARTLY_FAILED = 5  # some of what was asked for is done, some is not
    INTERRUPTED = 130


class CommandError(Exception):
    """An end of a command: its exit status, and a message for the person who gave it."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option `--json`."""
    parser.add_argument("--json", action="store_true", help="data as JSON, one document a line; errors, too")


def write_json(document: Any, stream: TextIO | None = None) -> None:
    """One line of JSON, on standard output unless `stream` is given, and at once."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False), file=stream or sys.stdout, flush=True)


def write(arguments: argparse.Namespace, document: Any, text: str) -> None:
    """The result of a command: `document` with `--json`, else `text`."""
    if arguments.json:
        write_json(document)
    else:
        print(text, flush=True)


def note(text: str) -> None:
    """A line for the person at the terminal, beside the data. A progress bar makes room for it."""
    tqdm.write(text, file=sys.stderr)


def progress(total: int, done: int, unit: str, **options: Any) -> tqdm[Any]:
    """A bar on standard error, where that is a terminal.

    The expected end follows from the mean rate of this run alone: what was done before counts as no work.
    """
    return tqdm(total=total, initial=done, unit=unit, smoothing=0, disable=None, dynamic_ncols=True, **options)


def is_colored(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether colours may go to `stream`: a terminal that has them, and no variable NO_COLOR with a value."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def guarded(prog: str, run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Run a command and return its exit status. What it ends with becomes a message and a status.

    `arguments` may have a field `json`. Faults of the program itself are not caught: they show where they are.
    """
    as_json = bool(getattr(arguments, "json", False))
    try:
        status = run(arguments)
        sys.stdout.flush()
    except CommandError as error:
        _report(prog, error.status, str(error), as_json)
        return error.status
    except BrokenPipeError:
        # The reader has gone, as `head` does. At its end Python would write to the pipe once more, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.FAULT
    except KeyboardInterrupt as error:
        _report(prog, Status.INTERRUPTED, str(error) or "interrupted", as_json)
        return Status.INTERRUPTED
    except OSError as error:
        _report(prog, Status.FAULT, str(error), as_json)
        return Status.FAULT
    return status


def begin() -> None:
    """What a process of its own does first: log to standard error, and let a request to end be an interrupt."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for library in ("httpx2", "httpcore2", "urllib3"):  # one line for each request
        logging.getLogger(library).setLevel(logging.WARNING)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` stays in force
            signal.signal(number, _interrupt)


class _Interrupted(KeyboardInterrupt):
    """Python itself ends by SIGINT, whatever the status, once a plain one has passed through `exec` of a text.

    Importing a module of dataclasses is enough for that.
    """


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _Interrupted


def _report(prog: str, status: Status, message: str, as_json: bool) -> None:
    if as_json:
        error = {"code": int(status), "type": status.name.lower(), "message": message}
        write_json({"error": error}, sys.stderr)
        return
    word = "\x1b[1;31merror\x1b[0m" if is_colored(sys.stderr) else "error"
    note(f"{prog}: {word}: {message}")
