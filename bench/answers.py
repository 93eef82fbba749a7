"""Large answers: overlay, colours, JSON and zip as they are served, in turns with their plain definition.

The plain definition makes each picture as a whole and leaves PNGs to Pillow, and looks at all pixels for each label.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco

from lseg_serve.bench.masks import LABELS
from lseg_serve.bench.rows import Row
from lseg_serve.bench.scenes import CONFIG
from lseg_serve.bench.setting import PROJECT
from lseg_serve.bench.timing import Times, interleaved, torch_threads
from lseg_serve.demo.weights_file import WEIGHTS
from lseg_serve.handler.formats import FORMAT_BY_NAME
from lseg_serve.handler.formats.colors import palette
from lseg_serve.handler.formats.content import Content, ServerInfo
from lseg_serve.handler.formats.png import mask_png
from lseg_serve.segmenter import UNLABELLED, Config, Segmenter

Pixels = npt.NDArray[np.uint8]
_SIZES = ((1200, 800), (4000, 3000))
_THREADS = (1, 2)
_ENCODED = ("overlay", "color", "json", "zip")
_SERVER = ServerInfo("lseg", "1.0", "cpu", max_response_bytes=1_000_000_000, timings=False)


def measure(runs: int) -> list[Row]:
    """A row for each format, size and way of encoding the same result."""
    segmenter = Segmenter.load(WEIGHTS, Config.from_file(CONFIG))
    rows: list[Row] = []
    for width, height in _SIZES:
        rows += _encoding(segmenter, width, height, runs)
    return rows


def _encoding(segmenter: Segmenter, width: int, height: int, runs: int) -> list[Row]:
    image = _picture(width, height)
    content = Content(image, segmenter.segment(image, LABELS), _SERVER)
    rows = []
    for name in _ENCODED:
        encode = FORMAT_BY_NAME[name].encode
        plain, served = _PLAIN[name](content), encode(content)
        same = float(all(np.array_equal(*pair) for pair in zip(_shown(plain), _shown(served), strict=True)))
        ways: dict[str, Callable[[], object]] = {"": partial(_PLAIN[name], content)}
        for threads in _THREADS:
            ways[f"{threads} thread{'' if threads == 1 else 's'}"] = partial(_by_threads, threads, encode, content)
        times = interleaved(ways, runs)
        for way, own in times.items():
            size = len(served if way else plain) / 1e6
            rows.append(_row(name, width, height, own, size, way, ratio=times[""].median / own.median, same=same))
    return rows


def _row(name: str, width: int, height: int, times: Times, size: float, way: str, *, ratio: float, same: float) -> Row:
    return Row(
        scenario="answers",
        path="served" if way else "naive",
        where="process",
        labels=len(LABELS),
        image=f"{width}x{height}",
        response_mb=size,
        ratio=ratio,
        agreement=same if way else None,
        note=f"{name}{', ' if way else ''}{way}",
        **times.columns(),  # type: ignore[arg-type]
    )


def _by_threads(threads: int, encode: Callable[[Content], bytes], content: Content) -> bytes:
    with torch_threads(threads):
        return encode(content)


def _picture(width: int, height: int) -> Pixels:
    """The drawn village at a size."""
    with Image.open(PROJECT / "demo" / "pictures" / "village.jpg") as image:
        return np.asarray(image.convert("RGB").resize((width, height)))


def _png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _plain_color(content: Content) -> bytes:
    return _png(palette()[content.result.mask])


def _plain_overlay(content: Content) -> bytes:
    image, mask = Image.fromarray(content.image), content.result.mask
    blended = Image.blend(image, Image.fromarray(palette()[mask]), content.alpha)
    blended.paste(image, mask=Image.fromarray(mask == UNLABELLED))
    return _png(np.asarray(blended))


def _plain_json(content: Content) -> bytes:
    mask = np.asfortranarray(content.result.mask)
    regions = [coco.encode((mask == index).astype(np.uint8)) for index in range(len(content.result.labels))]
    entries = [
        {
            "area": int(coco.area(region)),
            "box": [int(side) for side in coco.toBbox(region)],
            "counts": region["counts"].decode(),
        }
        for region in regions
    ]
    png = mask_png(content.result.mask, content.result.labels)
    return json.dumps([entries, base64.b64encode(png).decode()]).encode()


def _plain_zip(content: Content) -> bytes:
    buffer = io.BytesIO()
    mask = content.result.mask
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mask.png", mask_png(mask, content.result.labels))
        archive.writestr("overlay.png", _plain_overlay(content))
        for index in range(len(content.result.labels)):
            bits = mask == index
            rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
            if len(rows):
                window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                opacity = bits[window].astype(np.uint8) * 255
                archive.writestr(f"{index:03d}.png", _png(np.dstack([content.image[window], opacity])))
    return buffer.getvalue()


_PLAIN: dict[str, Callable[[Content], bytes]] = {
    "overlay": _plain_overlay,
    "color": _plain_color,
    "json": _plain_json,
    "zip": _plain_zip,
}


def _shown(answer: bytes) -> list[npt.NDArray[np.generic]]:
    """What an answer says, for a comparison: the pixels of its PNGs, or the outlines of its JSON."""
    if answer.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(answer)) as archive:
            files = [archive.read(name) for name in archive.namelist() if name.endswith(".png")]
        return [pixels for file in files for pixels in _shown(file)]
    if answer.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(answer)) as image:
            return [np.asarray(image)]
    document = json.loads(answer)
    if isinstance(document, list):
        return [np.array([entry["counts"] for entry in document[0] if entry["area"]])]
    return [np.array([entry["rle"]["counts"] for entry in document["labels"] if entry["area"]])]
