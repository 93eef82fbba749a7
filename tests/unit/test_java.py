"""The Java that runs TorchServe is found, or brought along."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lseg_serve.server.java import java_environment


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any Java; the folder is on its PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


def _fake_java(folder: Path, version: str) -> None:
    script = folder / "java"
    script.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    script.chmod(0o755)


def test_without_a_java_the_packages_own_is_used(no_java: Path) -> None:
    home = java_environment()["JAVA_HOME"]
    run = subprocess.run([f"{home}/bin/java", "-version"], capture_output=True, text=True, check=True)
    assert "version" in run.stderr


@pytest.mark.parametrize(("version", "found"), [("17.0.15", True), ("11.0.2", True), ("1.8.0_392", False)])
def test_the_machines_own_java_is_used_where_it_is_new_enough(version: str, found: bool, no_java: Path) -> None:
    _fake_java(no_java, version)
    assert (java_environment() == {}) == found


def test_java_home_comes_before_the_path(no_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_java(no_java, "1.8.0_392")
    (no_java / "home" / "bin").mkdir(parents=True)
    _fake_java(no_java / "home" / "bin", "21")
    monkeypatch.setenv("JAVA_HOME", str(no_java / "home"))
    assert java_environment() == {}
