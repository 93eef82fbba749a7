"""What docs/configuration.md says of pages of another origin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lseg_serve.server import LocalServer
from tests.serving.conftest import running

ORIGIN = "https://pages.example.org"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "x-lseg-labels",
}


@pytest.fixture(scope="module")
def open_server(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    environment = {
        "TS_CORS_ALLOWED_ORIGIN": ORIGIN,
        "TS_CORS_ALLOWED_METHODS": "GET,POST,PUT,OPTIONS",
        "TS_CORS_ALLOWED_HEADERS": "Content-Type,X-LSeg-Labels,X-LSeg-Format",
    }
    with running(archive, tmp_path_factory.mktemp("cors"), **environment) as server:
        yield server


def test_a_page_of_the_named_origin_may_ask(open_server: LocalServer, photo: bytes) -> None:
    url = f"{open_server.addresses.inference_url}/predictions/lseg"
    preflight = requests.options(url, headers=PREFLIGHT, timeout=60)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "X-LSeg-Labels" in preflight.headers["Access-Control-Allow-Headers"]
    response = requests.post(url, data=photo, headers={"Origin": ORIGIN, "X-LSeg-Labels": "cat,grass"}, timeout=60)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_headers_of_a_response_stay_hidden_from_it(open_server: LocalServer, photo: bytes) -> None:
    url = f"{open_server.addresses.inference_url}/predictions/lseg"
    response = requests.post(url, data=photo, headers={"Origin": ORIGIN, "X-LSeg-Labels": "cat,grass"}, timeout=60)
    assert "X-LSeg-Legend" in response.headers
    assert "Access-Control-Expose-Headers" not in response.headers


def test_without_these_keys_no_other_origin_may_ask(url: str, photo: bytes) -> None:
    preflight = requests.options(url, headers=PREFLIGHT, timeout=60)
    response = requests.post(url, files={"image": photo}, headers={"Origin": ORIGIN}, timeout=60)
    for headers in (preflight.headers, response.headers):
        assert not [name for name in headers if name.lower().startswith("access-control")]
