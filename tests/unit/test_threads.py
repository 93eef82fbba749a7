"""Workers times threads is never more than there are cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from lseg_serve.handler.process import threads
from lseg_serve.handler.process.threads import is_chosen, threads_per_worker, usable_cores


@pytest.mark.parametrize(("workers", "cores", "expected"), [(1, 2, 2), (2, 2, 1), (4, 2, 1), (3, 16, 5), (0, 8, 8)])
def test_the_cores_are_shared_out(workers: int, cores: int, expected: int) -> None:
    assert threads_per_worker(workers, cores) == expected


def test_a_container_without_whole_cores_has_one(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text("50000 100000\n")
    assert threads._quota(limit) == 1
    limit.write_text("350000 100000\n")
    assert threads._quota(limit) == 3


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text("max 100000\n")
    assert threads._quota(limit) == threads._quota(tmp_path / "absent") > 1000
    assert usable_cores() >= 1


def test_what_the_environment_says_counts_as_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert not is_chosen()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert is_chosen()
