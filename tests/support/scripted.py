"""A real HTTP server on loopback that sends what a test has written down, in turn, and keeps what it was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Scripted:
    """A response."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0  # before it begins
    pieces: int = 1  # the body comes in so many, with as long a pause before each
    missing: int = 0  # bytes that the header promises and that never come


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]  # by lower-case name
    body: bytes = field(repr=False)
    at: float  # seconds on the monotonic clock


@dataclass
class ScriptedServer:
    """Where it listens, and what it was asked."""

    replies: list[Scripted]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, asked: Asked) -> Scripted:
        """Keep a request; the reply to it. The last one serves all further requests."""
        with self._lock:
            self.asked.append(asked)
            return self.replies[min(len(self.asked), len(self.replies)) - 1]

    def count(self, change: int) -> None:
        """Count the requests that wait for their reply."""
        with self._lock:
            self._now += change
            self.most_at_once = max(self.most_at_once, self._now)


@contextmanager
def serving(*replies: Scripted) -> Iterator[ScriptedServer]:
    """A server that sends `replies`."""
    script = ScriptedServer(list(replies))

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            script.count(1)
            reply = script.take(Asked(self.command, self.path, headers, body, time.monotonic()))
            time.sleep(reply.seconds)
            script.count(-1)  # before the reply: with the reply in hand a client may send the next request
            self._send(reply)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the standard library's names

        def _send(self, reply: Scripted) -> None:
            try:
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(reply.body) + reply.missing))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                size = -(-len(reply.body) // reply.pieces) or 1
                for start in range(0, len(reply.body), size):
                    self.wfile.write(reply.body[start : start + size])
                    self.wfile.flush()
                    time.sleep(reply.seconds if reply.pieces > 1 else 0)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has gone, as a test wants it

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Nothing: a test has no use for an access log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
