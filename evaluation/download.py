"""A large file over HTTP, going on where a stopped download left off."""

from __future__ import annotations

from pathlib import Path

import requests
from tqdm import tqdm

from lseg_serve.evaluation.errors import EvaluationError

_CHUNK = 1 << 17  # what a broken connection may cost
_SECONDS = 60  # without a byte


def download(url: str, target: Path) -> None:
    """Fetch `url` to `target`; what has arrived waits in `target`.part until everything is there.

    Raises:
        EvaluationError: the server cannot be reached, refuses, or stops in the middle; the next call goes on.
    """
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.exists() else 0
    try:
        with requests.get(url, headers={"Range": f"bytes={have}-"}, stream=True, timeout=_SECONDS) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable and have:
                _check_length(part, _total(answer))
            else:
                answer.raise_for_status()
                resumed = answer.status_code == requests.codes.partial_content
                _write(answer, part, have if resumed else 0)
    except requests.RequestException as error:
        raise EvaluationError(f"{url}: {error}; {part} keeps what has arrived, and the next run goes on") from error
    part.replace(target)


def _write(answer: requests.Response, part: Path, have: int) -> None:
    length = answer.headers.get("Content-Length")
    total = have + int(length) if length is not None else None
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc="downloading", disable=None) as progress,
    ):
        for chunk in answer.iter_content(_CHUNK):
            file.write(chunk)
            progress.update(len(chunk))
    _check_length(part, total)


def _total(answer: requests.Response) -> int | None:
    """The whole length that a refusal names: `Content-Range: bytes */123`."""
    length = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(length) if length.isdigit() else None


def _check_length(part: Path, total: int | None) -> None:
    size = part.stat().st_size
    if total is not None and size > total:
        raise EvaluationError(f"{part}: has {size} bytes, more than the {total} of the whole file; remove it")
    if total is not None and size < total:
        raise EvaluationError(f"{part}: only {size} of {total} bytes have arrived; the next run goes on")
