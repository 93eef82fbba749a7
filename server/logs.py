"""What the logs of a server say about a start that failed. Read for people: no decision is taken from their words."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lseg_serve.server.errors import StartFailedError

_WORKERS, _FRONTEND, CONSOLE = "model_log.log", "ts_log.log", "console.log"
_JSON = "json.log"  # has those of workers and frontend where LSEG_LOGS is json
_WORKERS_LOGGER = "MODEL_LOG"
_SETTLE_POLLS = 20
_SETTLE_SECONDS = 0.5
_LAST_LINES = 25
# Date, level, thread and logger; then what the worker wrote.
_PREFIX = re.compile(r"^\S+ \[\w+ *\] \S+ MODEL_LOG - ")
# The line of a traceback that names the error.
_ERROR = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Exit|Interrupt|Fault)(?:: .*)?)$")
_FRAME = "\tat "  # of a stack trace of Java
# TorchServe's own errors behind the true one: it has looked for the handler in its own folder, too; it ends the worker.
_SECOND_HAND = re.compile(r"'ts\.torch_handler\.|RuntimeError: \d{3} - ")


@dataclass(frozen=True)
class Logs:
    """The logs in one folder."""

    folder: Path

    def clear(self) -> None:
        """Remove the logs of the last run: a failure that they tell of is not this run's.

        Raises:
            OSError: one cannot be removed.
        """
        for old in self.folder.glob("*.log"):
            old.unlink()

    def failure(self, what: str) -> StartFailedError:
        """The error for a start that failed: what failed, the last lines of the log, and where the rest is."""
        return self._last_lines(what, self._workers() or self._frontend() or self._lines(CONSOLE))

    def console_failure(self, what: str) -> StartFailedError:
        """The error for a TorchServe that ended: the end of its log, then what it printed, without Java's frames."""
        printed = [line for line in self._lines(CONSOLE) if not line.startswith(_FRAME)]
        return self._last_lines(what, self._frontend() + printed)

    def worker_failure(self, what: str) -> StartFailedError:
        """The error for a worker that ended while it loaded: its last error, then where the whole log is."""
        self._settle()
        error = last_error([_PREFIX.sub("", line) for line in self._workers()])
        if error is None:
            return self.failure(what)
        log = next((name for name in (_WORKERS, _JSON) if (self.folder / name).exists()), _WORKERS)
        return StartFailedError(f"{what}: {error}\nits whole log: {self.folder / log}")

    def _workers(self) -> list[str]:
        return self._lines(_WORKERS) or [text for logger, text in self._messages() if logger == _WORKERS_LOGGER]

    def _frontend(self) -> list[str]:
        return self._lines(_FRONTEND) or [text for logger, text in self._messages() if logger != _WORKERS_LOGGER]

    def _messages(self) -> list[tuple[str, str]]:
        """Logger and message of each line of JSON, requests left out."""
        found = []
        for line in self._lines(_JSON):
            try:
                document = json.loads(line)
                found.append((str(document["logger"]), str(document["message"])))
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def _last_lines(self, what: str, lines: Sequence[str]) -> StartFailedError:
        if not lines:
            return StartFailedError(f"{what}; the log above says why")
        return StartFailedError("\n".join([f"{what}; the end of its log in {self.folder}:", *lines[-_LAST_LINES:]]))

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []

    def _settle(self) -> None:
        """Wait until the logs stop growing: a worker is gone before TorchServe has copied its last lines."""
        before, after = -1, self._size()
        for _ in range(_SETTLE_POLLS):
            if before == after:
                return
            time.sleep(_SETTLE_SECONDS)
            before, after = after, self._size()

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*.log"))


def last_error(lines: Sequence[str]) -> str | None:
    """The last error that Python named in `lines`, without the module of its class; None if there is none."""
    named = (match[1] for line in reversed(lines) if (match := _ERROR.match(line)))
    return next((error for error in named if not _SECOND_HAND.search(error)), None)
