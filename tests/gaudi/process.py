"""Run a function in a process of its own, where the simulated Gaudi is what `habana_frameworks` means.

The simulator registers a device with torch and reads its environment once, so each test needs a new process; they are
forked from one that has torch loaded already, which takes milliseconds.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SIMULATED = Path(__file__).resolve().parent / "simulated"

_CONTEXT = multiprocessing.get_context("forkserver")
# torch loads its distributed tensors when an operator first comes to Python, which takes most of a second.
_CONTEXT.set_forkserver_preload(["torch", "torch.distributed.tensor", "psutil", "pytest"])
_SECONDS = 3600  # for what hangs: on a busy machine torch_xla compiles a network of published size for half an hour


@dataclass(frozen=True)
class Outcome:
    """What a function gave or how it failed, and what its process wrote to stderr."""

    value: Any
    error: str | None
    stderr: str


@contextmanager
def child(function: Callable[..., Any], *args: Any, **environment: str) -> Iterator[Outcome]:
    """Call a module's function in a new process, which ends with the block: until then it holds what it acquired."""
    here, there = _CONTEXT.Pipe()
    place = (function.__module__, function.__qualname__)
    process = _CONTEXT.Process(target=_serve, args=(there, place, args, environment))
    process.start()
    there.close()
    try:
        if not here.poll(_SECONDS):
            raise TimeoutError(f"{place[1]} gave nothing in {_SECONDS} s")
        yield here.recv()
    finally:
        here.close()
        process.join(_SECONDS)
        process.close()


def run(function: Callable[..., Any], *args: Any, **environment: str) -> Any:
    """What the function gives in a new process; its error is raised here as AssertionError."""
    with child(function, *args, **environment) as outcome:
        if outcome.error is not None:
            raise AssertionError(f"in its own process:\n{outcome.error}\n{outcome.stderr}")
        return outcome.value


def simulated(**environment: str) -> Callable[[Callable[..., None]], Callable[[Path], None]]:
    """Let a test run in a process of its own, in lazy mode unless it says otherwise; it may take `tmp_path`."""

    def decorate(body: Callable[..., None]) -> Callable[[Path], None]:
        def test(tmp_path: Path) -> None:
            args = (tmp_path,) if body.__code__.co_argcount else ()
            settings = {"PT_HPU_LAZY_MODE": "1", "SIMULATED_GAUDI_FOLDER": str(tmp_path / "cards"), **environment}
            run(test, *args, **{key: value.format(tmp=tmp_path) for key, value in settings.items()})

        test.__name__, test.__qualname__ = body.__name__, body.__qualname__
        test.__module__, test.__doc__ = body.__module__, body.__doc__
        test.body = body
        return test

    return decorate


def _serve(there: Connection, place: tuple[str, str], args: tuple[Any, ...], environment: dict[str, str]) -> None:
    for name in list(os.environ):
        if name.startswith(("PT_", "HLS_", "HABANA_", "SIMULATED_GAUDI_")):
            del os.environ[name]
    os.environ.update(environment)
    sys.path.insert(0, str(SIMULATED))
    errors = os.memfd_create("stderr")
    os.dup2(errors, 2)
    value = error = None
    try:
        import torch

        torch.set_num_threads(1)
        function = getattr(importlib.import_module(place[0]), place[1])
        value = getattr(function, "body", function)(*args)
    except BaseException:
        error = traceback.format_exc()
    there.send(Outcome(value, error, os.pread(errors, 2**20, 0).decode()))
    there.poll(_SECONDS)  # until the other side closes
