"""Answers of the bundled model on a real server, and the environments of the tools that read them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import running
from tests.web.conftest import bundled_archive  # noqa: F401 - a fixture

ENVIRONMENTS = PROJECT / ".venv-ecosystem"
READERS = Path(__file__).parent / "readers"
PICTURES = [*sorted((PROJECT / "demo" / "gallery").glob("*.jpg")), PROJECT / "demo" / "pictures" / "village.jpg"]
LABELS = "sky,cloud,sun,lawn,street,cottage,sheep,person,sand,water,snow,car,tree,other"


def python_of(environment: str) -> Path:
    """The Python of a tool's environment, which `make test-ecosystem` makes."""
    python = ENVIRONMENTS / environment / "bin" / "python"
    if not python.exists():
        pytest.fail(f"there is no {python}; `make test-ecosystem` makes it")
    return python


def read(environment: str, program: str, *arguments: object) -> dict[str, float]:
    """What a program of `readers/` found in its environment."""
    command = [str(python_of(environment)), str(READERS / f"{program}.py"), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert run.returncode == 0, run.stderr
    found: dict[str, float] = json.loads(run.stdout)
    return found


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of the gallery, and the village."""
    folder = tmp_path_factory.mktemp("images")
    for picture in PICTURES:
        shutil.copy(picture, folder)
    return folder


@pytest.fixture(scope="session")
def server(
    bundled_archive: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalServer]:
    """A TorchServe with the bundled model."""
    with running(bundled_archive, tmp_path_factory.mktemp("server")) as one:
        yield one


@pytest.fixture(scope="session")
def made(
    server: LocalServer,
    images: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """The folder of results of `lseg segment` with the given options, each made once."""
    folders: dict[tuple[str, ...], Path] = {}

    def make(*options: str, folder: Path | None = None) -> Path:
        if options not in folders:
            output = folder or tmp_path_factory.mktemp("made")
            command = [sys.executable, "-m", "lseg_serve.cli", "segment", str(images), "--output", str(output)]
            command += ["--labels", LABELS, "--url", server.addresses.inference_url, *options]
            run = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False, timeout=900)
            assert run.returncode == 0, run.stderr
            folders[options] = output
        return folders[options]

    return make


@pytest.fixture(scope="session")
def masks(made: Callable[..., Path]) -> Path:
    """The masks that every format must give back."""
    return made("--format", "png")
