"""What a request costs besides the network: the bundled model on drawn scenes, since its masks are those of things."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from bench.endpoint import Served, stage_columns
from bench.rows import Row
from bench.scenes import CONFIG, exported
from bench.setting import PROJECT, Photo
from bench.timing import interleaved
from demo.cache import FIRST_TEST_SEED
from demo.scenes import draw_scene
from demo.trials import NAMES
from segmenter.threads import usable_cores
from server import LocalServer

_SIZE = (640, 480)
_LABELS = 20
# Requests before the clock starts: by then TorchServe's Java has compiled what every request runs, as it has in a
# server that has been up for a while.
_BEFORE = 500


def measure(folder: Path, runs: int) -> list[Row]:
    """`runs` scenes of 640x480 as JPEG, each sent once, with 20 labels; the answer is a PNG.

    At the bundled model's own size, and at the published models': 480x640, whose scores are six times as many.
    """
    configs = {"bundled model": CONFIG, "bundled model at 480x640": PROJECT / "config" / "model-config.yaml"}
    return [
        _measured(folder / str(number), runs, name, config) for number, (name, config) in enumerate(configs.items())
    ]


def _measured(folder: Path, runs: int, name: str, config: Path) -> Row:
    archive = exported("float32", folder / "store", config=config)
    server = LocalServer(folder / "run", environment={"OMP_NUM_THREADS": str(usable_cores())})
    server.start(archive.parent, [f"scenes={archive.name}"])
    try:
        server.wait_until_ready("scenes")
        url = f"{server.addresses.inference_url}/predictions/scenes"
        before = Served(url, [_scene(0)], NAMES[:_LABELS])
        for _ in range(_BEFORE):
            before.ask()
        served = Served(url, [_scene(number) for number in range(runs + 1)], NAMES[:_LABELS])
        served.fill_forms()
        times = interleaved({"served": served.ask}, runs)["served"]
    finally:
        server.stop()
    columns = times.columns()
    del columns["cpu_s"]  # of this process, which only waited
    return Row(
        scenario="overhead",
        path="float32",
        where="endpoint",
        labels=_LABELS,
        image=f"{_SIZE[0]}x{_SIZE[1]}",
        note=f"{name}, after {_BEFORE} requests",
        **columns,  # type: ignore[arg-type]
        **stage_columns(served, times),  # type: ignore[arg-type]
    )


def _scene(number: int) -> Photo:
    image = draw_scene(FIRST_TEST_SEED + number, _SIZE).image
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92)
    return Photo(buffer.getvalue(), image)
