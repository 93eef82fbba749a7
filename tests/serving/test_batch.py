"""`lseg batch` against the endpoint: the masks of both are the same files."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

pytest.importorskip("pyarrow", reason="the extra batch is not installed")

import pyarrow.parquet as pq

from lseg_serve.batch.manifest import Manifest
from lseg_serve.batch.options import Options
from lseg_serve.batch.output import Output
from lseg_serve.batch.shard import Spec, Worker
from lseg_serve.batch.source import plan
from tests.support.batches import LABELS, write_images


@pytest.mark.parametrize("mode", ["fast", "accurate"])
def test_masks_are_those_of_the_endpoint(mode: str, archive: Path, url: str, tmp_path: Path) -> None:
    write_images(tmp_path / "in", 6)
    plan(str(tmp_path / "in"), str(tmp_path / "m.parquet"), 6, (".jpg",), pytest.fail)
    options = Options(LABELS, mode=mode)
    worker = Worker(Spec(str(tmp_path / "m.parquet"), str(tmp_path / "out"), str(archive), options, decoders=1))
    worker.run(0)
    worker.close()
    rows = pq.read_table(tmp_path / "out" / Output.masks(0)).to_pylist()
    assert len(rows) == Manifest(str(tmp_path / "m.parquet")).about.images
    for row in rows:
        files = {"image": (tmp_path / "in" / row["key"]).read_bytes()}
        answer = requests.post(url, files=files, data={"labels": ",".join(LABELS), "mode": mode}, timeout=120)
        assert answer.status_code == 200, answer.text
        assert row["mask"] == answer.content
