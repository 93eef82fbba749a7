"""What a request costs apart from the network: the bundled model on drawn scenes, whose masks show things."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lseg_serve.bench.endpoint import Served, stage_columns
from lseg_serve.bench.rows import Row
from lseg_serve.bench.scenes import CONFIG, exported
from lseg_serve.bench.setting import PROJECT, Photo, Setting, jpeg, labels, photo_at
from lseg_serve.bench.timing import interleaved
from lseg_serve.demo.cache import FIRST_TEST_SEED
from lseg_serve.demo.scenes import draw_scene
from lseg_serve.demo.trials import NAMES
from lseg_serve.server import LocalServer

_SIZE = (640, 480)
_LABELS = 20
# Requests before the clock starts. After them, TorchServe's Java has compiled the code that every request runs, as in a
# server that has been up for a while.
_BEFORE = 500


def measure(folder: Path, runs: int, checkpoint: Path | None = None) -> list[Row]:
    """`runs` scenes of 640x480 as JPEG, each sent once, with 20 labels; the response is a PNG.

    The bundled model runs at its own size, and at the published models' 480x640, where there are six times as many
    scores. A full-size `checkpoint` gets a tenth of the runs, on photos, with 20 labels and with one. Random weights
    make masks of noise, which take longer than masks of things; with one label there is nothing to choose.
    """
    configs = {"bundled model": CONFIG, "bundled model at 480x640": PROJECT / "config" / "model-config.yaml"}
    scenes = [_scene(number) for number in range(runs + 1)]
    rows = []
    for name, config in configs.items():
        archive = exported("float32", folder / name.replace(" ", "-"), config=config)
        rows += _measured(folder, name, archive, scenes, [NAMES[:_LABELS]])
    if checkpoint is not None:
        archive = Setting(checkpoint, folder / "full-size", ("float32",)).archive("float32")
        photos = [photo_at(*_SIZE, number) for number in range(max(1, runs // 10) + 1)]
        rows += _measured(folder, "full size", archive, photos, [labels(_LABELS), labels(1)])
    return rows


def _measured(
    folder: Path, name: str, archive: Path, photos: Sequence[Photo], label_sets: Sequence[Sequence[str]]
) -> list[Row]:
    """A row for each of `label_sets`. The first photo warms the server up; the clock starts at the second.

    The number of threads is not set, so the worker takes every core, as a single worker does by default.
    """
    server = LocalServer(folder / "run")
    server.start(archive.parent, [f"model={archive.name}"])
    try:
        server.wait_until_ready("model")
        url = f"{server.addresses.inference_url}/predictions/model"
        before = Served(url, photos[:1], label_sets[0])
        for _ in range(_BEFORE):
            before.send()
        return [_row(name, Served(url, photos, names)) for names in label_sets]
    finally:
        server.stop()


def _row(name: str, served: Served) -> Row:
    served.prepare()
    times = interleaved({"served": served.send}, len(served.photos) - 1)["served"]
    columns = times.columns()
    del columns["cpu_s"]  # of this process, which only waits
    return Row(
        scenario="overhead",
        path="float32",
        where="endpoint",
        labels=len(served.labels),
        image=f"{_SIZE[0]}x{_SIZE[1]}",
        note=f"{name}, after {_BEFORE} requests",
        **columns,  # type: ignore[arg-type]
        **stage_columns(served, times),  # type: ignore[arg-type]
    )


def _scene(number: int) -> Photo:
    image = draw_scene(FIRST_TEST_SEED + number, _SIZE).image
    return Photo(jpeg(image), image)
