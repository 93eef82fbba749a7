"""A cable between two programs: TCP that is passed on, until it is cut or goes silent."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_RESET = struct.pack("ii", 1, 0)  # to close without a word of farewell


class Cable:
    """Listens on a port of its own and passes all on to another one."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut, self._ended = False, False
        self._passes = threading.Event()
        self._passes.set()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where to connect, HOST:PORT."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection, and each new one at once."""
        self._is_cut = True
        with self._lock:
            for connection in self._open:
                _reset(connection)
            self._open.clear()

    def silence(self) -> None:
        """Pass nothing on any more, and say nothing of it."""
        self._passes.clear()

    def mend(self) -> None:
        """Pass everything on again; what was held back comes now."""
        self._is_cut = False
        self._passes.set()

    def end(self) -> None:
        """Cut it for good."""
        self._ended = True
        self.cut()
        self.silence()
        self._passes.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                _reset(near)
                continue
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        """Pass on what comes from both ends of one connection, until both have said all."""
        with near, socket.create_connection(("127.0.0.1", self._behind), 30) as far:
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            back = threading.Thread(target=self._pass_on, args=(far, near), daemon=True)
            back.start()
            self._pass_on(near, far)
            back.join()
            with self._lock:
                self._open -= {near, far}

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                self._passes.wait()
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RD)  # wakes whoever waits for it
    connection.close()


@contextmanager
def cable_to(port: int) -> Iterator[Cable]:
    """A cable to a port of loopback."""
    cable = Cable(port)
    try:
        yield cable
    finally:
        cable.end()
