"""Shards over a Ray cluster: the same bytes as without it. `-m large`: 5,000 images with everything going wrong.

Both need the extra `ray`, which `make env` leaves out, and `unshare` as root.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the extra batch is not installed")
pytest.importorskip("ray", reason="the extra ray is not installed")

import pyarrow.parquet as pq
from PIL import Image

from lseg_serve.batch.manifest import Manifest
from lseg_serve.batch.output import Output
from lseg_serve.batch.shard import Worker
from lseg_serve.batch.source import plan
from lseg_serve.batch.summary import state_of
from lseg_serve.demo.scenes import draw_scene
from lseg_serve.model import LSeg
from tests.batch.cluster import spec_of
from tests.conftest import PROJECT
from tests.support.batches import DECODES, KILLER, write_archive, write_images

_ALONE = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
pytestmark = pytest.mark.skipif(
    subprocess.run([*_ALONE, "true"], capture_output=True, check=False).returncode != 0,
    reason="no network namespace can be made here, and Ray would listen beyond loopback",
)


def _over_ray(folder: Path, *arguments: str) -> dict[str, Any]:
    shards = Manifest(str(folder / "m.parquet")).about.shards
    command = [*_ALONE, sys.executable, "-m", "tests.batch.cluster", str(folder), str(shards), *arguments]
    environment = {**os.environ, DECODES: str(folder / "decodes")}
    (folder / "decodes").mkdir(exist_ok=True)
    run = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:] + (folder / "driver.log").read_text()[-3000:]
    return dict(json.loads(run.stdout.splitlines()[-1]))


def _alone(folder: Path, shards: range) -> None:
    worker = Worker(spec_of(folder, "alone"))
    for shard in shards:
        worker.run(shard)
    worker.close()


def _same(folder: Path, shards: range) -> bool:
    names = [name for shard in shards for name in (Output.masks(shard), Output.status(shard))]
    return all((folder / "ray" / name).read_bytes() == (folder / "alone" / name).read_bytes() for name in names)


def test_a_cluster_gives_the_same_bytes(small_net: LSeg, tmp_path: Path) -> None:
    write_images(tmp_path / "in", 12)
    with (tmp_path / "in" / "0004.jpg").open("ab") as file:
        file.write(KILLER)
    plan(str(tmp_path / "in"), str(tmp_path / "m.parquet"), 4, (".jpg",), pytest.fail)
    write_archive(small_net, tmp_path / "lseg.mar")
    assert _over_ray(tmp_path)["status"] == 0
    _alone(tmp_path, range(3))
    assert _same(tmp_path, range(3))
    assert state_of(Output(str(tmp_path / "ray"))).failed == {"killed": 1}


COUNT, BROKEN, KILLERS, SHARD = 5000, 20, 3, 50


def _draw(folder: Path) -> None:
    """5,000 images of 64 to 400 pixels, cut from drawn scenes; some broken, some that kill."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    scenes = [Image.fromarray(draw_scene(seed, (400, 300)).image) for seed in range(20)]
    for number in range(COUNT):
        width, height = (int(side) for side in rng.integers(64, (400, 300)))
        left, top = int(rng.integers(0, 401 - width)), int(rng.integers(0, 301 - height))
        path = folder / f"{number:05d}.jpg"
        scenes[number % 20].crop((left, top, left + width, top + height)).save(path, quality=int(rng.integers(60, 96)))
        if number % (COUNT // BROKEN) == 7:
            path.write_bytes(path.read_bytes()[:200])
        elif number in (1234, 2345, 4567):
            path.write_bytes(path.read_bytes() + KILLER)


@pytest.mark.large
def test_five_thousand_images_through_every_fault(
    small_net: LSeg, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _draw(tmp_path / "in")
    plan(str(tmp_path / "in"), str(tmp_path / "m.parquet"), SHARD, (".jpg",), pytest.fail)
    write_archive(small_net, tmp_path / "lseg.mar")
    found = _over_ray(tmp_path, "faults")
    assert found["status"] == 0
    state = state_of(Output(str(tmp_path / "ray")))
    assert state.is_complete and state.failed == {"invalid_image": BROKEN, "killed": KILLERS}
    assert state.ok == COUNT - BROKEN - KILLERS

    keys = {hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in (tmp_path / "in").iterdir()}
    decodes = Counter(keys[line] for file in (tmp_path / "decodes").iterdir() for line in file.read_text().splitlines())
    assert set(decodes) == set(keys.values())
    lost = {shard for shards in found["in_flight"].values() for shard in shards}
    manifest = Manifest(str(tmp_path / "m.parquet"))
    killers = {f"{number:05d}.jpg" for number in (1234, 2345, 4567)}
    again = {key for key, count in decodes.items() if count > 1} - killers
    in_lost = {entry.key for shard in lost for entry in manifest.shard(shard)}
    assert again <= in_lost
    start = time.monotonic()
    _alone(tmp_path, range(0, 100, 10))
    alone = time.monotonic() - start
    assert _same(tmp_path, range(0, 100, 10))
    status = [row for path in (tmp_path / "ray" / "status").iterdir() for row in pq.read_table(path).to_pylist()]
    assert len(status) == COUNT
    with capsys.disabled():
        print(json.dumps({**found, "twice": len(again), "lost_shards": sorted(lost), "ten_shards_alone": alone}))
