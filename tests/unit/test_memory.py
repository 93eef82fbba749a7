"""Freed memory stays with the process until it is given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import PROJECT

# Between the blocks something stays allocated: glibc gives back what is free at the end of its heap by itself.
PROGRAM = """
import time
import psutil, torch
from lseg_serve.handler.process.memory import IdleTrimmer, keep_freed_memory

def resident():
    return psutil.Process().memory_info().rss // 10**6

keep_freed_memory()
before = resident()
blocks, kept = [], []
for _ in range(300):
    blocks.append(torch.ones(2**18))
    kept.append(torch.ones(2**8))
held = resident()
del blocks
trimmer = IdleTrimmer(0.2)
trimmer.end_work()
trimmer.begin_work()
time.sleep(1)
freed = resident()
trimmer.end_work()
for _ in range(100):
    time.sleep(0.1)
    if resident() < before + 40:
        break
print(before, held, freed, resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=PROJECT, capture_output=True, text=True, check=True)
    before, held, freed, given_back = (int(value) for value in run.stdout.split())
    assert held > before + 280
    assert freed > before + 280, "kept while a request is under way"
    assert given_back < before + 40
