"""Plan, run, status and merge by the URLs of an object store: a real S3-compatible server on loopback."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the extra batch is not installed")
pytest.importorskip("s3fs", reason="s3fs is not installed")
pytest.importorskip("moto.server", reason="moto's server is not installed")

import boto3
import pyarrow.parquet as pq
from moto.server import ThreadedMotoServer

from lseg_serve.batch.errors import StoreError
from lseg_serve.batch.manifest import Manifest
from lseg_serve.batch.options import Options
from lseg_serve.batch.output import Output
from lseg_serve.batch.shard import Spec, Worker
from lseg_serve.batch.source import plan
from lseg_serve.batch.summary import merge, state_of
from lseg_serve.model import LSeg
from tests.support.batches import LABELS, write_archive, write_images

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A client of a store with the bucket `lake`."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="lake")
    yield client
    running.stop()


def test_a_bucket_is_planned_run_and_merged(bucket, small_net: LSeg, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_images(tmp_path / "in", 7)
    for path in sorted((tmp_path / "in").iterdir()):
        bucket.upload_file(str(path), "lake", f"photos/deep/{path.name}")
    write_archive(small_net, tmp_path / "lseg.mar")
    about = plan("s3://lake/photos", "s3://lake/m.parquet", 4, (".jpg",), pytest.fail)
    assert (about.source, about.images, about.shards) == ("s3://lake/photos", 7, 2)
    entry = Manifest("s3://lake/m.parquet").shard(0)[0]
    head = bucket.head_object(Bucket="lake", Key="photos/deep/0000.jpg")
    assert (entry.key, entry.size, entry.etag) == ("deep/0000.jpg", head["ContentLength"], head["ETag"].strip('"'))

    bucket.delete_object(Bucket="lake", Key="photos/deep/0005.jpg")
    spec = Spec("s3://lake/m.parquet", "s3://lake/out", str(tmp_path / "lseg.mar"), Options(LABELS), decoders=1)
    worker = Worker(spec)
    assert [worker.run(shard) is not None for shard in (0, 1, 1)] == [True, True, False]
    worker.close()
    output = Output("s3://lake/out")
    state = state_of(output)
    assert (state.ok, state.failed, state.is_complete) == (6, {"missing": 1}, True)
    name, _ = merge(output)
    body = bucket.get_object(Bucket="lake", Key=f"out/{name}")["Body"].read()
    assert [row["status"] for row in pq.read_table(io.BytesIO(body)).to_pylist()].count("ok") == 6

    local = Spec("s3://lake/m.parquet", str(tmp_path / "out"), spec.model, spec.options, decoders=1)
    again = Worker(local)
    again.run(0)
    again.close()
    own = (tmp_path / "out" / Output.masks(0)).read_bytes()
    assert own == bucket.get_object(Bucket="lake", Key=f"out/{Output.masks(0)}")["Body"].read()


def test_a_store_that_is_gone_is_told(bucket, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StoreError, match="the same command goes on from here"):
        Output("s3://absent-bucket/out").store.write("name", b"content")
