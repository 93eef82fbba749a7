"""A download from Google Drive by gdown, which confirms its warning of large files and names its refusals."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lseg_serve.cli.manners import CommandError, Status, progress

_RETRIES = 5  # after breaks of the connection, each of which goes on where it was
_STALL_SECONDS = 120  # without a byte
# What Google Drive's page says of a file that was fetched too often.
_QUOTA = re.compile(r"too many users|quota|try accessing the file again later", re.IGNORECASE)
_INSTALL = "fetching needs gdown, an extra of this package; accepted: pip install 'lseg-serve[fetch]'"


def download(url: str, target: Path) -> None:
    """Fetch `url` of Google Drive to `target`. What a stopped download left beside it is gone on with.

    Raises:
        CommandError: gdown is not installed, the file is not given out, or nothing answers; what has arrived stays.
        OSError: the file cannot be written.
    """
    try:
        import gdown
        from gdown.exceptions import DownloadCancelled, DownloadError, FileURLRetrievalError
        from requests import HTTPError, RequestException
    except ImportError as error:
        raise CommandError(Status.FAULT, _INSTALL) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    stalled = threading.Event()
    try:
        with progress(0, 0, "B", unit_scale=True, desc=target.stem) as bar, _ended_when_stalled(stalled) as seen:

            def received(count: int, total: int | None) -> None:
                seen()
                bar.total = total
                bar.update(count - bar.n)

            gdown.download(
                url,
                str(target),
                quiet=True,
                use_cookies=False,
                resume=True,
                retries=_RETRIES,
                timeout=(30, 60),
                progress=received,
                cancel=stalled,
            )
    except FileURLRetrievalError as error:
        raise _not_given(url, str(error)) from error
    except HTTPError as error:
        raise CommandError(Status.REFUSED, f"{url}: {error}; the file is not there any more") from error
    except DownloadCancelled as error:
        raise _broken(url, f"not a byte for {_STALL_SECONDS} s") from error
    except (DownloadError, RequestException) as error:
        raise _broken(url, str(error)) from error


def _not_given(url: str, reason: str) -> CommandError:
    text = " ".join(reason.split())
    if _QUOTA.search(text):
        return CommandError(
            Status.UNREACHABLE,
            f"{url}: Google Drive sent its page for files that were fetched too often (quota), not the file; "
            "try again in some hours, or open the address in a browser, sign in, and add a copy to a Drive of your own",
        )
    return CommandError(Status.REFUSED, f"{url}: Google Drive sent a page, not the file; it may not be public any more")


def _broken(url: str, reason: str) -> CommandError:
    text = " ".join(reason.split())
    return CommandError(Status.UNREACHABLE, f"{url}: {text[:300]}; the same command goes on with what has arrived")


@contextmanager
def _ended_when_stalled(stalled: threading.Event) -> Iterator[_Seen]:
    """Set `stalled` once nothing was seen for so long: Google Drive may send one page after another, for ever."""
    seen, done = _Seen(), threading.Event()

    def watch() -> None:
        while not done.wait(1):
            if time.monotonic() - seen.last > _STALL_SECONDS:
                stalled.set()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


class _Seen:
    """When something was last seen."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self) -> None:
        self.last = time.monotonic()
