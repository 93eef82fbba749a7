"""An image of this checkout, built once and removed at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.image.engine import PROGRAMS, Engine

TAG = "localhost/lseg-test:cpu"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """podman and what it needs; the tests are skipped where they are not installed."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and, by Debian's packages of these names: {', '.join(missing or PROGRAMS)}")
    return Engine(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="session")
def image(engine: Engine) -> Iterator[str]:
    """The image for CPUs, removed at the end; or the one that TEST_IMAGE names, as it is."""
    if "TEST_IMAGE" in os.environ:
        yield os.environ["TEST_IMAGE"]
        return
    engine.build(TAG, "cpu")
    yield TAG
    engine.run("podman", "image", "rm", "--force", TAG)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to be mounted with the archive of the bundled model, and folders in it: one empty, one closed to all."""
    folder = tmp_path_factory.mktemp("store")
    command = [sys.executable, "-m", "export", "demo/weights/lseg-scenes.safetensors", "--output", str(folder)]
    command += ["--config", "demo/model-config.yaml", "--labels", "demo/labels.txt"]
    subprocess.run(command, cwd=PROJECT, capture_output=True, check=True)
    # The container's user is another than the one who wrote it.
    for path in (folder, *folder.parents):
        if path == Path(path.anchor) or path == Path("/tmp"):
            break
        path.chmod(path.stat().st_mode | 0o055)
    (folder / "lseg.mar").chmod(0o644)
    (folder / "empty").mkdir(mode=0o755)
    (folder / "closed").mkdir(mode=0o700)
    (folder / "closed" / "lseg.mar").touch()
    return folder
