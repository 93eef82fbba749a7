"""Several requests in one call of the handler, over HTTP and gRPC."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import requests

from lseg_serve.client import read_mask
from lseg_serve.segmenter import Segmenter
from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import error_of, export_archive, running

CAT = (PROJECT / "demo" / "photos" / "cat.jpg").read_bytes()
COFFEE = (PROJECT / "demo" / "photos" / "coffee.jpg").read_bytes()
BATCH = 4
DELAY_MS = 5000


@pytest.fixture(scope="module")
def batching_archive(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that waits long for a batch of four, so that four requests are sure to meet."""
    return export_archive(
        small_checkpoint, tmp_path_factory.mktemp("batching"), batchSize=BATCH, maxBatchDelay=DELAY_MS
    )


@pytest.fixture(scope="module")
def batching_server(batching_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with running(batching_archive, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def segmenter(batching_archive: Path) -> Segmenter:
    return Segmenter.load(batching_archive)


def test_one_bad_request_of_four_gets_its_own_400(batching_server: LocalServer, segmenter: Segmenter) -> None:
    url = f"{batching_server.addresses.inference_url}/predictions/lseg"
    asked: list[tuple[bytes, str]] = [(CAT, "cat,grass"), (CAT, "cat,cat"), (COFFEE, "cup,spoon,table"), (CAT, "a,b")]

    def send(one: tuple[bytes, str]) -> requests.Response:
        return requests.post(url, files={"image": one[0]}, data={"labels": one[1]}, timeout=60)

    with ThreadPoolExecutor(BATCH) as pool:
        responses = list(pool.map(send, asked))
    assert [response.status_code for response in responses] == [200, 400, 200, 200]
    assert "'cat' is given twice" in str(error_of(responses[1])["message"])
    for (image, labels), response in zip(asked, responses, strict=True):
        if response.ok:
            mask = read_mask(response.content)
            assert [entry.name for entry in mask.legend] == labels.split(",")
            np.testing.assert_array_equal(mask.indices, segmenter.segment(image, labels.split(",")).mask)
    # A batch that was not full would have waited for the whole delay.
    assert max(response.elapsed.total_seconds() for response in responses) < DELAY_MS / 1000


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModuleType, ModuleType]]:
    """The messages and the service of inference.proto, compiled for this test."""
    from grpc_tools import protoc

    folder = tmp_path_factory.mktemp("stubs")
    source = Path(__file__).parent
    assert (
        protoc.main(["", f"-I{source}", f"--python_out={folder}", f"--grpc_python_out={folder}", "inference.proto"])
        == 0
    )
    sys.path.insert(0, str(folder))
    import inference_pb2
    import inference_pb2_grpc

    yield inference_pb2, inference_pb2_grpc
    sys.path.remove(str(folder))


@pytest.fixture
def service(server: LocalServer, stubs: tuple[ModuleType, ModuleType]) -> Iterator[Any]:
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{server.addresses.grpc_inference.port}") as channel:
        yield stubs[1].InferenceAPIsServiceStub(channel)


def _message(stubs: tuple[ModuleType, ModuleType], **fields: bytes) -> Any:
    return stubs[0].PredictionsRequest(model_name="lseg", input=fields)


def test_grpc_responds_with_the_same_mask(
    service: Any, stubs: tuple[ModuleType, ModuleType], segmenter: Segmenter
) -> None:
    response = service.Predictions(_message(stubs, image=CAT, labels=b"cat,grass"), timeout=60)
    np.testing.assert_array_equal(read_mask(response.prediction).indices, segmenter.segment(CAT, ["cat", "grass"]).mask)


def test_grpc_errors_describe_themselves(service: Any, stubs: tuple[ModuleType, ModuleType]) -> None:
    """TorchServe passes no status on over gRPC, so the body must say what happened."""
    response = service.Predictions(_message(stubs, image=b"hello", labels=b"cat"), timeout=60)
    assert b'"code": 415' in response.prediction


def test_a_grpc_stream_call_answers_and_leaves_the_worker_alive(
    server: LocalServer, service: Any, stubs: tuple[ModuleType, ModuleType], segmenter: Segmenter
) -> None:
    before = server.workers("lseg")
    responses = list(service.StreamPredictions(_message(stubs, image=CAT, labels=b"cat,grass"), timeout=60))
    assert len(responses) == 1
    expected = segmenter.segment(CAT, ["cat", "grass"]).mask
    np.testing.assert_array_equal(read_mask(responses[0].prediction).indices, expected)
    assert list(service.StreamPredictions(_message(stubs, image=b"hello"), timeout=60))
    assert [worker["pid"] for worker in server.workers("lseg")] == [worker["pid"] for worker in before]
