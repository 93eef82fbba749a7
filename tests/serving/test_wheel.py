"""The wheel, installed into an empty environment, exports, serves and answers in a folder far from any checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image

from lseg_serve.client import read_mask
from lseg_serve.server import Addresses
from tests.conftest import PROJECT
from tests.serving.conftest import free_addresses

pytestmark = pytest.mark.slow

LABELS = ("sky", "mountain", "cottage", "lawn")
NEEDED = (
    "config/config.properties",
    "config/log4j2-json.xml",
    "config/log4j2.xml",
    "config/model-config.yaml",
    "demo/labels.txt",
    "demo/model-config.yaml",
    "demo/photos/cat.jpg",
    "demo/pictures/village.jpg",
    "demo/weights/lseg-scenes.safetensors",
    "labelsets/ade20k.txt",
    "labelsets/coco.txt",
    "labelsets/pascal.txt",
    "web/openapi.json",
    "web/static/index.html",
)
MODEL = ("weights/lseg-scenes.safetensors", "model-config.yaml", "labels.txt")
DATA = (
    "config",
    "demo/gallery",
    "demo/labels.txt",
    "demo/model-config.yaml",
    "demo/photos",
    "demo/pictures",
    "demo/weights",
    "front/nginx.conf.template",
    "labelsets",
    "segmenter/devices/hpu",
    "web/openapi.json",
    "web/static",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source archive, which is built from a copy of the checkout: building leaves files beside it."""
    folder = tmp_path_factory.mktemp("wheel")
    left = shutil.ignore_patterns(
        ".*", "*.egg-info", "build", "model_store", "logs", "evaluation-results", "node_modules"
    )
    shutil.copytree(PROJECT, folder / "checkout", symlinks=True, ignore=left)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(folder / "checkout")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of an environment with the wheel and what it depends on, and nothing else; 2 GB while it is there."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--constraint", str(PROJECT / "requirements.lock"), f"{wheel}[java,web]"]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    yield folder / "bin" / "python"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all commands run in."""
    return tmp_path_factory.mktemp("empty")


def _environment(addresses: Addresses | None = None) -> dict[str, str]:
    """Variables without Python's, so that neither a folder nor the environment leads to the checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return environment | (addresses.environment() if addresses is not None else {})


def _run(program: Path, empty: Path, *arguments: str, addresses: Addresses | None = None) -> str:
    """What a program of the environment prints in the empty folder."""
    environment = _environment(addresses)
    run = subprocess.run(
        [str(program), *arguments], cwd=empty, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def lseg(python: Path) -> Path:
    """The command `lseg` of the environment."""
    return python.with_name("lseg")


@pytest.fixture(scope="module")
def package(python: Path, empty: Path) -> Path:
    """The folder of the installed package."""
    return Path(_run(python, empty, "-c", "import lseg_serve; print(lseg_serve.__path__[0])").strip())


@pytest.fixture(scope="module")
def addresses(lseg: Path, empty: Path, package: Path) -> Iterator[Addresses]:
    """Where the bundled model is served, exported and started by the installed command."""
    demo, ports = package / "demo", free_addresses()
    weights, config, labels = (str(demo / name) for name in MODEL)
    _run(lseg, empty, "export", weights, "--config", config, "--labels", labels)
    assert (empty / "model_store" / "lseg.mar").is_file()
    try:
        printed = _run(lseg, empty, "serve", "--json", addresses=ports)
        assert json.loads(printed)["url"] == ports.inference_url
        yield ports
    finally:
        assert _run(lseg, empty, "stop") == "server stopped\n"
        assert not ports.inference.is_taken()


def test_the_wheel_installs_one_package_with_all_its_code_and_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"lseg_serve"}
    files = {name.removeprefix("lseg_serve/") for name in names if name.startswith("lseg_serve/")}
    links = [link for link in (PROJECT / "src" / "lseg_serve").iterdir() if link.is_symlink()]
    code = {str(path.relative_to(PROJECT)) for link in links for path in (PROJECT / link.name).rglob("*.py")}
    assert {name for name in files if name.endswith(".py")} == code | {"__init__.py"}
    assert set(NEEDED) <= files
    assert {name for name in files if not name.endswith(".py") and not name.startswith(DATA)} == set()


def test_the_command_names_its_subcommands(lseg: Path, empty: Path) -> None:
    printed = _run(lseg, empty, "--help")
    assert all(f"    {name} " in printed for name in ("fetch", "export", "serve", "stop", "web", "segment"))


def test_the_installed_package_exports_serves_and_answers(
    lseg: Path, empty: Path, package: Path, addresses: Addresses
) -> None:
    assert package.is_relative_to(lseg.parents[1])
    picture = package / "demo" / "pictures" / "village.jpg"
    options = ["--labels", ",".join(LABELS), "--url", addresses.inference_url]
    line = json.loads(_run(lseg, empty, "segment", str(picture), *options))
    with Image.open(picture) as image:
        expected = image.size
    mask = read_mask((empty / line["output"]).read_bytes())
    assert mask.indices.shape == expected[::-1]
    assert [entry.name for entry in mask.legend] == list(LABELS)
    assert all(line["shares"][name] > 0.05 for name in ("sky", "lawn"))
    is_sky = mask.indices == LABELS.index("sky")
    tenth = len(is_sky) // 10
    assert is_sky[:tenth].mean() > 0.9
    assert is_sky[-tenth:].mean() < 0.1


def test_the_installed_command_serves_the_page(lseg: Path, empty: Path, addresses: Addresses) -> None:
    """In front of the server that runs, found by its addresses; that one goes on when the page ends."""
    command = [str(lseg), "web", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=empty, env=_environment(addresses), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        try:
            page = requests.get(url, timeout=60)
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            script = re.search(r'src="/?(assets/[^"]+\.js)"', page.text)
            assert script is not None
            assert requests.get(f"{url}/{script[1]}", timeout=60).status_code == 200
            (model,) = requests.get(f"{url}/api/models", timeout=60).json()["models"]
            assert (model["id"], model["state"]) == ("lseg", "ready")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert requests.get(f"{addresses.inference_url}/ping", timeout=60).json() == {"status": "Healthy"}
