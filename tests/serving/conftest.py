"""Real servers with a small network, each in a folder and on ports of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml

from lseg_serve.server import Addresses, LocalServer
from tests.conftest import PROJECT
from tests.support.pictures import Pixels, encoded

LABEL_SET = ["sky", "tree", "water", "house"]


def free_addresses() -> Addresses:
    """Five ports that nothing listens on."""
    return Addresses.free()


def export_archive(checkpoint: Path, output: Path, *options: str, **config: object) -> Path:
    """Export by the command line; `config` goes over TorchServe's keys of the project's model-config.yaml."""
    output.mkdir(parents=True, exist_ok=True)
    document = yaml.safe_load((PROJECT / "config" / "model-config.yaml").read_text()) | config
    document["lseg"]["static_image_size_params"] = {"hw_ratios": [[3, 4], [4, 3], [1, 1]], "short_sizes": [96]}
    document["lseg"]["accurate"] = {"crop_size": 96, "base_size": 104, "stride": 64}
    (output / "config.yaml").write_text(yaml.safe_dump(document))
    (output / "labels.txt").write_text("\n".join(LABEL_SET))
    command = [sys.executable, "-m", "export", str(checkpoint), "--output", str(output)]
    command += ["--config", str(output / "config.yaml"), "--labels", str(output / "labels.txt")]
    command += ["--precision", "float32", *options]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return output / "lseg.mar"


@contextmanager
def running(archive: Path, folder: Path, model: str = "lseg", **environment: str) -> Iterator[LocalServer]:
    """A server with `archive`, ready; stopped at the end."""
    # One thread for the worker of a small network: on a busy machine several mostly wait for each other.
    server = LocalServer(folder, free_addresses(), environment={"OMP_NUM_THREADS": "1", **environment})
    server.start(archive.parent, [f"{model}={archive.name}"])
    try:
        server.wait_until_ready(model, seconds=300)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def archive(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network's archive."""
    return export_archive(small_checkpoint, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def server(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server whose size limits are low enough to be reached in a test."""
    limits = {"TS_MAX_REQUEST_SIZE": "8000000", "TS_MAX_RESPONSE_SIZE": "3000000"}
    with running(archive, tmp_path_factory.mktemp("server"), **limits) as one:
        yield one


@pytest.fixture(scope="session")
def url(server: LocalServer) -> str:
    """Where the server answers predictions."""
    return f"{server.addresses.inference_url}/predictions/lseg"


def predicted(server: LocalServer, labels: Sequence[str], image: Pixels) -> requests.Response:
    """The answer of the model `lseg` with a mask of `image` [H, W, 3]; any other answer fails the test."""
    answer = requests.post(
        f"{server.addresses.inference_url}/predictions/lseg",
        files={"image": encoded(image)},
        data={"labels": ",".join(labels)},
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    return answer


def error_of(answer: requests.Response) -> dict[str, object]:
    """The error in an answer, checked for its form."""
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, object] = json.loads(answer.content)["error"]
    assert set(error) == {"code", "type", "message", "field"}
    assert error["code"] == answer.status_code
    assert "Traceback" not in str(error["message"])
    return error
