"""The page's built files: those that the sources give, small, and of this host alone."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PAGE = PROJECT / "web" / "page"
STATIC = PROJECT / "web" / "static"
MOST_BYTES = 60_000  # of the whole page, each file gzipped
_ADDRESS = re.compile(r"https?://[^\s\"'`)<>\\]+")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_built_files_are_what_the_sources_give(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no Node on this machine, so the page cannot be built")
    copy = tmp_path / "web" / "page"
    shutil.copytree(PAGE, copy, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(PROJECT / "labelsets", tmp_path / "labelsets")
    if (PAGE / "node_modules").is_dir():
        (copy / "node_modules").symlink_to(PAGE / "node_modules")
    else:
        command = [npm, "ci", "--no-audit", "--no-fund"]
        install = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=300, check=False)
        if install.returncode != 0:
            pytest.skip(f"the page's packages cannot be installed: {install.stderr[-300:]}")
    build = subprocess.run([npm, "run", "build"], cwd=copy, capture_output=True, text=True, timeout=300, check=False)
    assert build.returncode == 0, build.stdout + build.stderr
    assert _files(tmp_path / "web" / "static") == _files(STATIC), (
        "run `npm run build` in web/page and commit web/static"
    )


def test_the_page_is_small() -> None:
    size = sum(len(gzip.compress(content)) for content in _files(STATIC).values())
    assert size <= MOST_BYTES


def test_no_file_names_a_foreign_host() -> None:
    for name, content in _files(STATIC).items():
        found = {url for url in _ADDRESS.findall(content.decode()) if not url.startswith("http://www.w3.org/")}
        assert found == set(), name


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((PAGE / "package-lock.json").read_text())
    assert [name for name, entry in lock["packages"].items() if "resolved" in entry] == []
    package = json.loads((PAGE / "package.json").read_text())
    for kind in ("dependencies", "devDependencies"):  # the build follows from the versions
        assert all(re.fullmatch(r"[\d.]+", version) for version in package[kind].values())
