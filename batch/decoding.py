"""Decoding in processes of their own: an image that kills its process ends none but that.

Each process decodes one image at a time, so it is known which image killed it. A killed process is replaced, and the
image tried once more; then it is given up. The network's process, which a device may take minutes to prepare, goes on.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from PIL import Image

from lseg_serve.batch.errors import BatchError
from lseg_serve.segmenter import Pixels, SegmenterError, decode_image

DECODE = f"{__name__}:decode"
_TRIES = 2
_SECONDS = 300  # for one image


def prepare() -> None:
    """Let the modules of decoders be imported while this process does something else; the first would wait for them."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
    forkserver.ensure_running()


class DecoderKilledError(Exception):
    """An image whose decoding killed two processes, one after the other, or did not end."""


def decode(content: bytes, most_pixels: int) -> Pixels:
    """The pixels uint8 [H, W, 3] of an image file, as the endpoint decodes it."""
    return decode_image(content, most_pixels)


class Decoder:
    """One process that decodes; for one thread."""

    def __init__(self, most_pixels: int, decode: str = DECODE) -> None:
        """Nothing is started before the first image. `decode` names the function, as `module:function`."""
        self._arguments = (most_pixels, decode)
        self._process: Any = None
        self._pipe: Connection | None = None

    def decode(self, content: bytes) -> Pixels:
        """The pixels uint8 [H, W, 3] of an image file.

        Raises:
            SegmenterError: what the endpoint would refuse the image with.
            DecoderKilledError: it killed the process twice.
            BatchError: no process can be started.
        """
        how = ""
        for _ in range(_TRIES):
            try:
                return self._once(content)
            except (EOFError, ConnectionError):
                how = self._end()
            except TimeoutError:
                self._end()
                how = f"was ended after {_SECONDS} s"
        raise DecoderKilledError(f"the process that decodes it {how}, {_TRIES} times")

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None:
            self._pipe.close()  # it ends by that
            self._process.join(5)
            self._end()

    def _once(self, content: bytes) -> Pixels:
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        self._pipe.send_bytes(content)
        if not self._pipe.poll(_SECONDS):
            raise TimeoutError
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        pixels = np.empty(answer, dtype=np.uint8)
        self._pipe.recv_bytes_into(pixels.data.cast("B"))
        return pixels

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        prepare()  # a new process has its modules at once
        pipe, other = context.Pipe()
        process = context.Process(target=_serve, args=(other, *self._arguments), daemon=True)
        with _STARTING:
            process.start()
        other.close()
        try:
            ready = pipe.poll(_SECONDS) and pipe.recv()
        except (EOFError, ConnectionError):
            ready = False
        if not ready:
            process.kill()
            raise BatchError(
                "the processes that decode end at their start, see the lines above; a program of one's own that starts "
                "them has to begin below `if __name__ == '__main__':`"
            )
        self._pipe, self._process = pipe, process

    def _end(self) -> str:
        """End the process, and say how it has ended before."""
        self._process.join(1)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
        with contextlib.suppress(OSError):
            if self._pipe is not None:
                self._pipe.close()
        self._process = self._pipe = None
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with status {code}"


_STARTING = threading.Lock()


def _serve(pipe: Connection, most_pixels: int, name: str) -> None:
    """Decode what comes, until the pipe is closed. For want of memory the process ends, and gives its memory back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives the images
    Image.MAX_IMAGE_PIXELS = None  # the configuration has the limit, as in a worker of the endpoint
    module, _, function = name.partition(":")
    act: Callable[[bytes, int], Pixels] = getattr(importlib.import_module(module), function)
    with contextlib.suppress(EOFError, ConnectionError):
        pipe.send(True)
        while True:
            content = pipe.recv_bytes()
            try:
                pixels = np.ascontiguousarray(act(content, most_pixels))
            except SegmenterError as error:
                pipe.send(error)
            else:
                pipe.send(pixels.shape)
                pipe.send_bytes(pixels.data.cast("B"))
