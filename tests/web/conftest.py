"""The app in front of a real TorchServe with the bundled model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from lseg_serve.server import LocalServer
from lseg_serve.web import Endpoint, Settings, create_app
from tests.conftest import PROJECT
from tests.serving.conftest import running
from tests.support.chromium import Visitor, chromium_path, launch, visiting
from tests.support.web import listening

# Playwright's options of a context for the viewport of a phone.
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}


@pytest.fixture(scope="session")
def bundled_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model, exported as `make serve` does, in float32: the same masks on every machine."""
    store = tmp_path_factory.mktemp("bundled")
    command = [sys.executable, "-m", "export", "demo/weights/lseg-scenes.safetensors", "--output", str(store)]
    command += ["--config", "demo/model-config.yaml", "--labels", "demo/labels.txt", "--precision", "float32"]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return store / "lseg.mar"


@pytest.fixture(scope="package")
def endpoint(bundled_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A TorchServe with the bundled model, ready. Tests that stop, scale or flood a server start one of their own.

    A test that kills its worker waits until there is another one.
    """
    with running(bundled_archive, tmp_path_factory.mktemp("endpoint")) as server:
        yield server


@pytest.fixture(scope="package")
def app_url(endpoint: LocalServer) -> Iterator[str]:
    """Where the app serves the page in front of it."""
    with listening(create_app(Settings((endpoint_of(endpoint),)))) as url:
        yield url


def endpoint_of(server: LocalServer, name: str = "default") -> Endpoint:
    """The server as the app knows it."""
    return Endpoint(name, server.addresses.inference_url, server.addresses.management_url)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium of this machine."""
    if chromium_path() is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        one = launch(playwright)
        yield one
        one.close()


@pytest.fixture
def visitor(browser: Browser, app_url: str) -> Iterator[Visitor]:
    """Someone who has just opened the page."""
    with visiting(browser, app_url) as one:
        one.open()
        yield one
