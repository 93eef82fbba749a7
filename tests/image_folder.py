"""Sends every file of a folder to a running server, and checks each response: `python -m tests.image_folder FOLDER`.

For folders of other projects' test images, which are not part of this one. What must hold, whatever the files are:

- no response of 5xx;
- every mask has the size of the picture as an independent reader (Pillow, OpenCV, tifffile) shows it, upright;
- one worker process from the first to the last, whose memory at the end is within 50 MB of that after the first
  hundred files, if its feature cache is off (`feature_cache_megabytes: 0`); else the cache may grow as well.

Refusals are printed, one line for each message with the files it was said of, to be read by a person.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import re
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import psutil
import requests
import tifffile
from PIL import Image, ImageOps

from lseg_serve.client import on_loopback

_FIRST = 100
_MOST_GROWTH = 50_000_000  # bytes
_SECONDS_TO_SETTLE = 3
_MOST_PAGES = 10
_LABELS = "sky,grass,house,other"


@dataclass
class Findings:
    """What came back."""

    masks: int = 0
    unchecked: list[str] = field(default_factory=list)  # masks of files that no other reader opens
    wrong_size: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # 5xx, or no response
    refusals: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # files by status and message


def main() -> int:
    """Send the files as the command line says, print what came back; 1 if something must not be so."""
    parser = argparse.ArgumentParser(prog="python -m tests.image_folder", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080/predictions/lseg", help="(default: %(default)s)")
    parser.add_argument("--management", default="http://127.0.0.1:8081", help="(default: %(default)s)")
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.folder.rglob("*") if path.is_file())
    findings, memory = Findings(), list[int]()
    with requests.Session() as session:
        session.trust_env = not on_loopback(arguments.url)
        model = urlsplit(arguments.url).path.rpartition("/")[2]
        description = f"{arguments.management}/models/{model}"
        before = _worker(session, description)
        for sent, path in enumerate(files, start=1):
            _send(session, arguments.url, path, str(path.relative_to(arguments.folder)), findings)
            if len(memory) == 0 and sent == min(_FIRST, len(files)):
                memory.append(_settled_memory(before))
        memory.append(_settled_memory(before))
        after = _worker(session, description)
    growth = memory[-1] - memory[0]
    _print(findings, len(files))
    print(
        f"worker {before.pid} at the start, {after.pid} at the end; "
        f"its memory grew by {growth / 1e6:.0f} MB after the first {min(_FIRST, len(files))} files"
    )
    failed = bool(findings.broken or findings.wrong_size) or before != after or growth > _MOST_GROWTH
    print("failed" if failed else "passed")
    return int(failed)


def _settled_memory(worker: psutil.Process) -> int:
    """The bytes that an idle worker holds: it gives freed memory back a moment after its last request."""
    time.sleep(_SECONDS_TO_SETTLE)
    return int(worker.memory_info().rss) if worker.is_running() else 0


def _worker(session: requests.Session, url: str) -> psutil.Process:
    (worker,) = session.get(url, timeout=30).json()[0]["workers"]
    return psutil.Process(int(worker["pid"]))


def _send(session: requests.Session, url: str, path: Path, name: str, findings: Findings) -> None:
    data = path.read_bytes()
    try:
        response = session.post(url, files={"image": data}, data={"labels": _LABELS}, timeout=120)
    except requests.RequestException as error:
        findings.broken.append(f"{name}: {error}")
        return
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        findings.broken.append(f"{name}: {response.status_code} {response.text[:200]}")
    elif not response.ok:
        message = re.sub(r"\d+", "N", _message(response))  # numbers differ from file to file
        findings.refusals[f"{response.status_code} {message}"].append(name)
    else:
        findings.masks += 1
        with Image.open(io.BytesIO(response.content)) as mask:
            found = mask.size
        sizes = set(_sizes(data))
        if not sizes:
            findings.unchecked.append(f"{name}: {found[0]}x{found[1]}")
        elif found not in sizes:
            findings.wrong_size.append(f"{name}: {found[0]}x{found[1]}; other readers: {sorted(sizes)}")


def _message(response: requests.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (json.JSONDecodeError, KeyError):
        return response.text[:200]


def _sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Width and height of the upright picture, by each reader that opens it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                yield ImageOps.exif_transpose(image).size
        except Exception:  # noqa: BLE001 - a foreign file can raise anything
            pixels = _by_opencv(data)
            if pixels is not None:
                yield pixels.shape[1], pixels.shape[0]
        if data.startswith((b"II", b"MM")):
            yield from _of_largest_page(data)


def _of_largest_page(data: bytes) -> Iterator[tuple[int, int]]:
    """Width and height of the largest page of a TIFF, or of a picture inside a page, upright."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            firsts = itertools.islice(file.pages, _MOST_PAGES)  # a damaged file may have pages without end
            pages = [page for first in firsts for page in (first, *itertools.islice(first.pages or (), _MOST_PAGES))]
            page = max(pages, key=lambda page: page.imagewidth * page.imagelength)
            turned = page.tags.valueof(274, 1) >= 5  # of the tag Orientation, those that exchange the sides
    except Exception:  # noqa: BLE001 - a foreign file can raise anything
        return
    yield (page.imagelength, page.imagewidth) if turned else (page.imagewidth, page.imagelength)


def _by_opencv(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def _print(findings: Findings, files: int) -> None:
    refused = sum(len(names) for names in findings.refusals.values())
    print(f"{files} files: {findings.masks} masks, {refused} refusals, {len(findings.broken)} others")
    for title, lines in (
        ("5xx or no response", findings.broken),
        ("of a wrong size", findings.wrong_size),
        ("masks whose size no other reader could tell", findings.unchecked),
    ):
        print(f"{title}: {len(lines)}")
        print("".join(f"  {line}\n" for line in lines), end="")
    for message, names in sorted(findings.refusals.items()):
        print(f"{message}\n  {len(names)}: {', '.join(names)}")


if __name__ == "__main__":
    sys.exit(main())
