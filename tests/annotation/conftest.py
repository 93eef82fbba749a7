"""The real Label Studio and the real cvat-cli, each in an environment of its own, before the bundled model.

`make test-annotation` installs both. All runs on loopback, and nothing is asked of a foreign host.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lseg_serve.server import LocalServer
from tests.annotation.studio import Studio, running_studio
from tests.conftest import PROJECT
from tests.serving.conftest import running
from tests.support.label_studio import running_backend
from tests.web.conftest import browser, bundled_archive

__all__ = ["browser", "bundled_archive"]


def environment_of(name: str) -> Path:
    """The folder with a tool's environment: LSEG_<NAME>_VENV, or where make puts it."""
    folder = Path(os.environ.get(f"LSEG_{name.upper().replace('-', '_')}_VENV", PROJECT / f".venv-{name}"))
    if not (folder / "bin" / "python").exists():
        pytest.skip(f"no environment with {name} in {folder}; `make test-annotation` makes it")
    return folder


@pytest.fixture(scope="session")
def endpoint(bundled_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A TorchServe with the bundled model."""
    with running(bundled_archive, tmp_path_factory.mktemp("endpoint")) as server:
        yield server


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A Label Studio with an empty database."""
    with running_studio(environment_of("label-studio"), tmp_path_factory.mktemp("studio")) as one:
        yield one


@pytest.fixture(scope="session")
def backend(endpoint: LocalServer, studio: Studio) -> Iterator[str]:
    """The backend between both. Its log may not hold the owner's token."""
    with running_backend(endpoint, studio.url) as (url, log):
        yield url
    assert studio.token not in "".join(log)
