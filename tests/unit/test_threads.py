"""Workers times threads is never more than there are cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from lseg_serve.handler.process.threads import set_by_environment, threads_per_worker, usable_cores
from lseg_serve.handler.process.workers import ThreadShare
from tests.conftest import PROJECT


@pytest.mark.parametrize(("workers", "cores", "expected"), [(1, 2, 2), (2, 2, 1), (4, 2, 1), (3, 16, 5), (0, 8, 8)])
def test_the_cores_are_shared_out(workers: int, cores: int, expected: int) -> None:
    assert threads_per_worker(workers, cores) == expected


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("50000 100000", 1), ("350000 100000", 3), ("800000 100000", 8), ("1600000 100000", 8), ("max 100000", 8)],
)
def test_a_containers_quota_limits_the_cores(quota: str, expected: int, tmp_path: Path) -> None:
    """Of eight cores; the file is as the kernel writes it: microseconds of processor time in each period."""
    cpu_max = tmp_path / "cpu.max"
    cpu_max.write_text(f"{quota}\n")
    assert usable_cores(8, cpu_max) == expected


def test_without_a_container_all_cores_count(tmp_path: Path) -> None:
    assert usable_cores(8, tmp_path / "absent") == 8


@pytest.mark.skipif(not hasattr(psutil.Process, "cpu_affinity"), reason="this system binds no process to cores")
def test_a_process_may_use_the_cores_that_it_is_bound_to() -> None:
    program = """
import psutil
from lseg_serve.handler.process.threads import usable_cores
process = psutil.Process()
process.cpu_affinity(process.cpu_affinity()[:1])
print(usable_cores())
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, check=True)
    assert int(run.stdout) == 1


@pytest.fixture
def _threads() -> Iterator[None]:
    """Give torch back the threads that it has here."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment variable sets the number of threads."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)


@pytest.mark.usefixtures("_unset", "_threads")
def test_a_worker_alone_computes_with_all_usable_cores() -> None:
    torch.set_num_threads(usable_cores() + 1)
    ThreadShare().apply()
    assert torch.get_num_threads() == usable_cores()


@pytest.mark.usefixtures("_unset", "_threads")
@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_from_the_environment_is_left_alone(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not set_by_environment()
    monkeypatch.setenv(variable, "3")
    assert set_by_environment()
    torch.set_num_threads(usable_cores() + 1)
    ThreadShare().apply()
    assert torch.get_num_threads() == usable_cores() + 1


WORKER = """
import sys
if "count" in sys.argv:
    from lseg_serve.handler.process.workers import count_workers
    print(count_workers())
else:
    sys.stdin.read()
"""
FRONTEND = """
import subprocess, sys
waiting = [subprocess.Popen([sys.executable, *name], stdin=subprocess.PIPE) for name in (sys.argv[1:],) * 2]
other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
subprocess.run([sys.executable, *sys.argv[1:], "count"], check=True)
for process in (*waiting, other):
    process.communicate()
"""


def test_workers_of_one_frontend_count_each_other(tmp_path: Path) -> None:
    """Three processes run what TorchServe runs as a worker, by its name; a fourth of the same parent is none."""
    worker = tmp_path / "model_service_worker.py"
    worker.write_text(WORKER, encoding="utf-8")
    command = [sys.executable, "-c", FRONTEND, str(worker)]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert int(run.stdout) == 3


def test_a_worker_takes_its_share_of_threads_on_every_device() -> None:
    """Also where the network runs elsewhere: images are decoded and masks made by the host."""
    program = """
import torch
from lseg_serve.handler.process.tuning import ProcessTuning
torch.set_num_threads(1000)
tuning = ProcessTuning()
tuning.start()
with tuning.busy():
    print(torch.get_num_threads())
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [str(usable_cores())]
