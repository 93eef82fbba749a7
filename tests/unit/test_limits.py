"""How large a response may be is what the TorchServe in front says, wherever it says it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ts leaves its version file open
    from lseg_serve.handler.limits import configured_limit, frontend_limit

PROJECT = Path(__file__).resolve().parents[2]
FRONTEND = "org.pytorch.serve.ModelServer"
DEFAULT = 6_553_500  # TorchServe's


def _command(*options: str) -> list[str]:
    """The frontend's command line as TorchServe 0.12 builds it."""
    return ["java", "-Dmodel_server_home=/x", "-cp", ".:/x/frontend/*", FRONTEND, "--python", "/x/python", *options]


def _limit(folder: Path, *lines: str) -> int:
    """The limit where the frontend's file has `lines`."""
    path = folder / "config.properties"
    path.write_text("\n".join(lines), encoding="utf-8")
    return configured_limit("max_response_size", _command("-s", "store", "-f", str(path), "-ncs"), Path("/nowhere"))


def test_the_limit_is_in_the_file_that_the_command_line_names(tmp_path: Path) -> None:
    assert _limit(tmp_path, "# a comment", "max_request_size=1", "", "max_response_size = 12345") == 12345
    assert configured_limit("max_response_size", _command("-f", "config.properties"), tmp_path) == 12345


def test_without_a_file_or_a_line_in_it_the_limit_is_torchserves_own(tmp_path: Path) -> None:
    assert configured_limit("max_response_size", _command("-s", "store"), Path("/nowhere")) == DEFAULT
    assert _limit(tmp_path, "max_request_size=1") == DEFAULT


@pytest.mark.parametrize("value", ["", "many", "-5", "1e6", "10 MB", "1.5"])
def test_a_limit_that_is_no_number_counts_as_none(value: str, tmp_path: Path) -> None:
    assert _limit(tmp_path, f"max_response_size={value}") == DEFAULT


def test_each_size_has_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("max_request_size=123\nmax_response_size=456\n", encoding="utf-8")
    assert configured_limit("max_request_size", _command("-f", "own"), tmp_path) == 123
    assert configured_limit("max_response_size", _command("-f", "own"), tmp_path) == 456


def test_the_environment_counts_only_where_the_file_lets_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TS_MAX_RESPONSE_SIZE", "777")
    size = "max_response_size=123"
    assert _limit(tmp_path, size) == 123
    assert _limit(tmp_path, size, "enable_envvars_config=false") == 123
    assert _limit(tmp_path, size, "enable_envvars_config=true") == 777
    assert _limit(tmp_path, "enable_envvars_config=True") == 777
    monkeypatch.delenv("TS_MAX_RESPONSE_SIZE")
    assert _limit(tmp_path, size, "enable_envvars_config=true") == 123


def test_the_projects_own_file_is_understood() -> None:
    assert configured_limit("max_response_size", _command("-f", "config/config.properties"), PROJECT) == 120_000_000


def test_a_parent_that_is_no_torchserve_sets_no_limit() -> None:
    assert frontend_limit("max_response_size") is None


def _seen_by_a_worker(folder: Path, *options: str, **environment: str) -> str:
    """What a child of a process with the frontend's command line finds; a shell stands in for Java."""
    worker = 'from lseg_serve.handler.limits import frontend_limit; print(frontend_limit("max_response_size"))'
    run = subprocess.run(
        ["/bin/sh", "-c", f"'{sys.executable}' -c '{worker}'; true", FRONTEND, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "src"), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def test_a_worker_reads_the_file_of_its_own_frontend(tmp_path: Path) -> None:
    (tmp_path / "own.properties").write_text("max_response_size=4321\nenable_envvars_config=true\n", encoding="utf-8")
    assert _seen_by_a_worker(tmp_path, "-f", "own.properties") == "4321"
    assert _seen_by_a_worker(tmp_path, "-f", "own.properties", TS_MAX_RESPONSE_SIZE="99") == "99"


def test_a_worker_without_a_readable_file_takes_the_default(tmp_path: Path) -> None:
    assert _seen_by_a_worker(tmp_path) == str(DEFAULT)
    assert _seen_by_a_worker(tmp_path, "-f", "absent.properties") == str(DEFAULT)
