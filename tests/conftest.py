"""Fixtures for all tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from lseg_serve.model import LSeg
from tests.support.networks import SMALL, random_network, save_checkpoint

TESTS = Path(__file__).resolve().parent
PROJECT = TESTS.parent
GOLDEN = PROJECT.parent / "shared" / "golden"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder (unit, serving, ...), and as slow where it loads a full-size network."""
    for item in items:
        item.add_marker(item.path.relative_to(TESTS).parts[0])
        if isinstance(item, pytest.Function) and "full_size_checkpoint" in item.fixturenames:
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Let torch compute in one thread here: over small tensors, on busy cores, several mostly wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photo() -> bytes:
    """The bundled photo, a JPEG of 451x300 pixels."""
    return (PROJECT / "demo" / "photos" / "cat.jpg").read_bytes()


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference outputs."""
    if not GOLDEN.is_dir():
        pytest.skip("the reference outputs (shared/golden beside the checkout) are not here")
    return GOLDEN


@pytest.fixture(scope="session")
def small_net() -> LSeg:
    """A small network with random weights."""
    return random_network(SMALL)


@pytest.fixture(scope="session")
def small_checkpoint(small_net: LSeg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the small network."""
    return save_checkpoint(small_net, tmp_path_factory.mktemp("checkpoint") / "small.ckpt")


@pytest.fixture(scope="module")
def full_size_checkpoint(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Makes the checkpoint, 1 to 2 GB, that a golden file was computed from; they go with the module that asked."""
    folder = tmp_path_factory.mktemp("full-size")

    def make(name: str, *options: str) -> Path:
        path = folder / f"{name}{''.join(options)}.ckpt"
        if not path.exists():
            script, source = golden / "make_checkpoint.py", golden / f"{name}.npz"
            subprocess.run([sys.executable, str(script), str(source), str(path), *options], check=True)
        return path

    yield make
    shutil.rmtree(folder)
