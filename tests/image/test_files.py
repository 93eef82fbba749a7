"""The files that images are built of and run by, checked by the linters of their kinds."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.conftest import PROJECT


def _checked_by(program: str, *arguments: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program}; `make test-image` installs it")
    run = subprocess.run([program, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_dockerfile_is_in_order() -> None:
    _checked_by("hadolint", "Dockerfile")


def test_the_compose_file_is_in_order() -> None:
    _checked_by("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml")
