"""The backend for Label Studio as a process of its own, and what Label Studio's brush writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from lseg_serve.server import LocalServer
from tests.conftest import PROJECT


@contextmanager
def running_backend(
    server: LocalServer, studio: str, *options: str, **variables: str
) -> Iterator[tuple[str, list[str]]]:
    """The command, running; its address, and what it has written when it has ended, by SIGTERM and with status 0."""
    command = [sys.executable, "-m", "lseg_serve.cli", "label-studio", "--port", "0", "--json"]
    command += ["--label-studio", studio, "--url", server.addresses.inference_url]
    command += ["--management-url", server.addresses.management_url, *options]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src"), **variables}
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log: list[str] = []
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], log
    finally:
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
        log += [out, errors]
    assert process.returncode == 0, errors


def unpacked(code: Sequence[int], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask [H, W] in Label Studio's brush code, whose pixels have four channels that must agree.

    Read bit by bit, as the library rle-pack describes the code: independent of what writes it.
    """
    bits = "".join(f"{byte:08b}" for byte in code)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    count, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        repeated = take(1)
        length = take(sizes[take(2)]) + 1
        values += [take(word)] * length if repeated else [take(word) for _ in range(length)]
    channels = np.array(values, np.uint8).reshape(*shape, 4)
    assert (channels == channels[..., :1]).all()
    assert set(np.unique(channels)) <= {0, 255}
    mask: npt.NDArray[np.bool_] = channels[..., 3] == 255
    return mask
