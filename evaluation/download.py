"""Download a large file over HTTP, and resume where a stopped download ended."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import httpx2
from tqdm import tqdm

from lseg_serve.client import on_loopback
from lseg_serve.evaluation.errors import EvaluationError

_CHUNK = 1 << 17  # bytes: at most so many are lost when a connection breaks
_SECONDS = 60  # without a byte, after which the connection counts as broken


def download(url: str, target: Path) -> None:
    """Fetch `url` to `target`. Until the file is complete, it is called `target`.part.

    Raises:
        EvaluationError: the server cannot be reached, refuses, or stops in the middle; the next call goes on.
    """
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.exists() else 0
    try:
        headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
        by_proxy = not on_loopback(url)  # which a proxy that the environment names cannot reach
        with httpx2.stream(
            "GET", url, headers=headers, follow_redirects=True, timeout=_SECONDS, trust_env=by_proxy
        ) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                _check_length(part, _total(response))
            else:
                response.raise_for_status()
                resumed = response.status_code == HTTPStatus.PARTIAL_CONTENT
                _write(response, part, have if resumed else 0)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise EvaluationError(f"{url}: {error}; {part} keeps what has arrived, and the next run goes on") from error
    part.replace(target)


def _write(response: httpx2.Response, part: Path, have: int) -> None:
    length = response.headers.get("Content-Length")
    total = have + int(length) if length is not None else None
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc="downloading", disable=None) as progress,
    ):
        for chunk in response.iter_raw(_CHUNK):
            file.write(chunk)
            progress.update(len(chunk))
    _check_length(part, total)


def _total(response: httpx2.Response) -> int | None:
    """The length of the whole file, from the header of a refusal: `Content-Range: bytes */123`."""
    length = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(length) if length.isdigit() else None


def _check_length(part: Path, total: int | None) -> None:
    size = part.stat().st_size
    if total is not None and size > total:
        raise EvaluationError(f"{part}: has {size} bytes, more than the {total} of the whole file; remove it")
    if total is not None and size < total:
        raise EvaluationError(f"{part}: only {size} of {total} bytes have arrived; the next run goes on")
