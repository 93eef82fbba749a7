"""The front before a real server with a small network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lseg_serve.server import LocalServer
from tests.serving.conftest import export_archive, running
from tests.support.front import NOT_POSSIBLE, Front, fronting
from tests.support.pictures import encoded, gradient

FORM = {"Content-Type": "image/png", "X-LSeg-Labels": "sky,tree"}
# Loopback's addresses stand for clients: attackers have theirs, the good client another.
ATTACKER, GOOD = "127.0.0.66", "127.0.0.7"


@pytest.fixture(scope="session")
def archive(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network's archive."""
    if NOT_POSSIBLE is not None:
        pytest.skip(f"{NOT_POSSIBLE} (Debian: apt-get install nginx-light)")
    return export_archive(small_checkpoint, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def server(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server whose queue takes two requests."""
    with running(archive, tmp_path_factory.mktemp("server"), TS_JOB_QUEUE_SIZE="2") as one:
        yield one


@pytest.fixture(scope="session")
def front(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The front as it ships, but for a shorter wait for slow clients and room for many tests a second."""
    generous = {"rate": "1000", "burst": "1000", "address_rate": "1000", "address_burst": "1000"}
    with fronting(tmp_path_factory.mktemp("front"), server, slow_seconds="3", **generous) as one:
        yield one


@pytest.fixture(scope="session")
def plain_front(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The same without TLS, as behind a gateway that ends it."""
    generous = {"rate": "1000", "burst": "1000", "address_rate": "1000", "address_burst": "1000"}
    with fronting(tmp_path_factory.mktemp("plain-front"), server, tls="off", **generous) as one:
        yield one


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A PNG of 96x64 pixels."""
    return encoded(gradient(64, 96))


def error_of(answer: requests.Response, type_: str) -> dict[str, object]:
    """The error in an answer, checked for the project's form."""
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, object] = json.loads(answer.content)["error"]
    assert set(error) == {"code", "type", "message", "field"}
    assert (error["code"], error["type"]) == (answer.status_code, type_)
    return error
