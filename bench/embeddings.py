"""Embeddings at a real server: bytes and milliseconds of maps and points on a known image, beside those of a mask."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lseg_serve.bench.endpoint import Served, stage_columns
from lseg_serve.bench.rows import Row
from lseg_serve.bench.scenes import exported
from lseg_serve.bench.setting import PROJECT, Photo, Setting, labels, photo_at
from lseg_serve.bench.timing import interleaved
from lseg_serve.client import form
from lseg_serve.server import LocalServer

_WIDTH, _HEIGHT = 640, 480
_POINTS = (1, 1000, 100_000)


class Embedded(Served):
    """As `Served`, with the format embeddings and its options; points go as a file of NumPy's format."""

    options: Mapping[str, str]
    points: bytes | None = None

    def _request(self, photo: Photo) -> tuple[bytes, str]:
        return form({"format": "embeddings", **self.options}, photo.content, self.points)


def measure(folder: Path, runs: int, checkpoint: Path | None = None) -> list[Row]:
    """A row for each request at 640x480 pixels, `runs` times in turns; the features of the image are cached.

    The bundled model runs at the published models' 480x640. A full-size `checkpoint` takes its place: embeddings have
    512 elements there.
    """
    if checkpoint is None:
        archive = exported("float32", folder / "store", config=PROJECT / "config" / "model-config.yaml")
    else:
        archive = Setting(checkpoint, folder / "store", ("float32",)).archive("float32")
    server = LocalServer(folder / "run")
    server.start(archive.parent, [f"model={archive.name}"])
    try:
        server.wait_until_ready("model")
        return _measured(f"{server.addresses.inference_url}/predictions/model", runs)
    finally:
        server.stop()


def _measured(url: str, runs: int) -> list[Row]:
    photos = [photo_at(_WIDTH, _HEIGHT)]
    served: dict[str, Served] = {"mask, 20 labels": Served(url, photos, labels(20))}
    for dtype in ("float16", "float32"):
        served[f"map, {dtype}"] = _embedded(url, photos, {"dtype": dtype})
    for count in _POINTS:
        served[f"{count} points, float16"] = _embedded(url, photos, {}, _npy(count))
    for one in served.values():
        one.prepare()
    times = interleaved({name: one.send for name, one in served.items()}, runs)
    rows = []
    for name, one in served.items():
        columns = times[name].columns()
        del columns["cpu_s"]  # of this process, which only waits
        stages = stage_columns(one, times[name])
        rows.append(
            Row(
                scenario="embeddings",
                path="float32",
                where="endpoint",
                image=f"{_WIDTH}x{_HEIGHT}",
                features="warm",
                response_mb=len(one.content) / 1e6,
                note=name,
                **columns,  # type: ignore[arg-type]
                **stages,  # type: ignore[arg-type]
            )
        )
    return rows


def _embedded(url: str, photos: list[Photo], options: Mapping[str, str], points: bytes | None = None) -> Embedded:
    found = Embedded(url, photos, ())
    found.options, found.points = options, points
    return found


def _npy(count: int) -> bytes:
    """`count` places of the image as a file of NumPy's format."""
    places = np.random.default_rng(0).uniform(0, (_WIDTH - 1, _HEIGHT - 1), (count, 2)).astype(np.float32)
    buffer = io.BytesIO()
    np.save(buffer, places)
    return buffer.getvalue()
